//! The program in memory: where it lies, which build it is, and what runs before its `main`.
//!
//! Addresses differ from process to process, offsets in the image do not. The start of the image comes from the loader,
//! not from the address of a function, of which a program may have several copies.

use super::super::RaceOnce;
use std::ffi::{CStr, OsString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStringExt;

/// The program's main image, not a library's.
#[derive(Debug)]
struct Image {
    base: usize,
    code: Vec<std::ops::Range<usize>>,
    constructors: Option<(usize, usize)>,
    build: Option<u128>,
}

fn image() -> &'static Image {
    static IMAGE: RaceOnce<Image> = RaceOnce::new();
    IMAGE.get_or_keep(|| {
        let mut found = None;
        // SAFETY: the callback gets this pointer, only during the call.
        unsafe { libc::dl_iterate_phdr(Some(first_image), (&raw mut found).cast()) };
        found.unwrap_or(Image { base: 0, code: Vec::new(), constructors: None, build: None })
    })
}

/// The loader reports the main program first.
unsafe extern "C" fn first_image(info: *mut libc::dl_phdr_info, _: usize, found: *mut c_void) -> c_int {
    // SAFETY: the loader passes a valid description, whose headers and the segments that they name are mapped; `found`
    // is the place that `image` passed.
    unsafe {
        let base = (*info).dlpi_addr as usize;
        let headers = std::slice::from_raw_parts((*info).dlpi_phdr, (*info).dlpi_phnum as usize);
        let mut image = Image { base, code: Vec::new(), constructors: None, build: None };
        for header in headers {
            let start = base + header.p_vaddr as usize;
            match header.p_type {
                libc::PT_LOAD if header.p_flags & libc::PF_X != 0 => {
                    image.code.push(start..start + header.p_memsz as usize);
                }
                libc::PT_NOTE => {
                    let notes = std::slice::from_raw_parts(start as *const u8, header.p_memsz as usize);
                    image.build = image.build.or_else(|| build_id(notes, (header.p_align as usize).max(4)));
                }
                libc::PT_DYNAMIC => image.constructors = constructors(start as *const [usize; 2], base),
                _ => {}
            }
        }
        *found.cast::<Option<Image>>() = Some(image);
    }
    1
}

/// The linker's hash of the program, from its notes: {name size, size, type, name, content}, each padded.
fn build_id(mut notes: &[u8], align: usize) -> Option<u128> {
    const GNU_BUILD_ID: u32 = 3;
    while notes.len() >= 12 {
        let word = |at: usize| notes[at..at + 4].try_into().map(u32::from_ne_bytes).unwrap_or(0);
        let (name, size, kind) = (word(0) as usize, word(4) as usize, word(8));
        let content = (12 + name).next_multiple_of(align);
        let end = content.checked_add(size)?;
        let bytes = notes.get(content..end)?;
        if kind == GNU_BUILD_ID && notes.get(12..12 + name)? == b"GNU\0" && size >= 8 {
            let mut id = [0; 16];
            let length = size.min(16);
            id[..length].copy_from_slice(&bytes[..length]);
            return Some(u128::from_ne_bytes(id));
        }
        notes = notes.get(end.next_multiple_of(align)..)?;
    }
    None
}

/// Address and number of the functions that run before `main`.
///
/// # Safety
/// `entries` is a dynamic section, which ends with an entry of tag 0.
unsafe fn constructors(mut entries: *const [usize; 2], base: usize) -> Option<(usize, usize)> {
    const INIT_ARRAY: usize = 25;
    const INIT_ARRAY_SIZE: usize = 27;
    let (mut at, mut size) = (None, 0);
    loop {
        // SAFETY: the entry lies before the one with tag 0, as the caller guarantees.
        let [tag, value] = unsafe { entries.read() };
        match tag {
            0 => return Some((at?, size / size_of::<usize>())),
            INIT_ARRAY => at = Some(base + value),
            INIT_ARRAY_SIZE => size = value,
            _ => {}
        }
        entries = entries.wrapping_add(1);
    }
}

/// The offset of this code in the image; `None` if it is not in the main image.
pub(crate) fn offset_of(address: usize) -> Option<u64> {
    let image = image();
    image.code.iter().any(|code| code.contains(&address)).then(|| (address - image.base) as u64)
}

/// The address of an offset in the image.
pub(crate) fn address_of(offset: u64) -> Option<usize> {
    let address = image().base.checked_add(usize::try_from(offset).ok()?)?;
    offset_of(address).map(|_| address)
}

/// The prime of the 128-bit FNV-1a hash.
const FNV_PRIME: u128 = (1 << 88) + (1 << 8) + 0x3b;

/// Identifies the build of the program: by the linker's hash, or else by what the file system has of the file.
pub(crate) fn build() -> u128 {
    use std::os::unix::fs::MetadataExt;
    image().build.unwrap_or_else(|| {
        std::fs::metadata("/proc/self/exe").map_or(0, |data| {
            let numbers = [data.dev(), data.ino(), data.size(), data.mtime() as u64, data.mtime_nsec() as u64];
            numbers.iter().fold(1, |hash: u128, number| (hash ^ u128::from(*number)).wrapping_mul(FNV_PRIME))
        })
    })
}

/// Whether the program runs with the rights of its file, not of its user. Its environment must not be trusted then, and
/// it would have other rights when it executes itself again.
pub(crate) fn is_privileged() -> bool {
    // SAFETY: no pointers.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// What the system passed to the program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    argc: c_int,
    argv: *const *const c_char,
    envp: *const *const c_char,
    /// The constructor that got this; 0 if none did.
    constructor: usize,
}

/// A function that runs before `main`.
pub(crate) type Constructor = extern "C" fn(c_int, *const *const c_char, *const *const c_char);

impl Start {
    /// In the constructor `this`.
    #[cfg_attr(not(feature = "auto"), allow(dead_code))]
    pub(crate) fn of_constructor(
        argc: c_int,
        argv: *const *const c_char,
        envp: *const *const c_char,
        this: Constructor,
    ) -> Self {
        Start { argc, argv, envp, constructor: this as *const () as usize }
    }

    /// In `main`: nothing is left to run before it.
    pub(crate) fn of_main() -> Self {
        Start { argc: 0, argv: std::ptr::null(), envp: std::ptr::null(), constructor: 0 }
    }

    /// Whether the constructor is the program's own. A library's also runs in programs that know nothing of it.
    pub(crate) fn is_in_program(&self) -> bool {
        self.constructor == 0 || offset_of(self.constructor).is_some()
    }

    /// Runs the constructors after this one, which would have run before `main`.
    pub(crate) fn finish(&self) {
        let Some((at, count)) = image().constructors.filter(|_| self.constructor != 0) else { return };
        // SAFETY: the loader's own table, relocated before the first constructor ran.
        let table = unsafe { std::slice::from_raw_parts(at as *const usize, count) };
        let Some(here) = table.iter().position(|address| *address == self.constructor) else { return };
        for address in &table[here + 1..] {
            if *address != 0 && *address != usize::MAX {
                // SAFETY: an entry of that table is a function that takes what the first ones got.
                unsafe { std::mem::transmute::<usize, Constructor>(*address)(self.argc, self.argv, self.envp) };
            }
        }
    }
}

/// Makes a function of this crate run before `main`.
#[cfg_attr(not(feature = "auto"), allow(unused_macros))]
macro_rules! before_main {
    ($function:path) => {
        #[allow(unsafe_code)] // the loader calls it, with what a constructor gets
        #[used]
        #[unsafe(link_section = ".init_array")]
        static CONSTRUCTOR: $crate::sys::image::Constructor = {
            extern "C" fn constructor(
                argc: std::ffi::c_int,
                argv: *const *const std::ffi::c_char,
                envp: *const *const std::ffi::c_char,
            ) {
                $function($crate::sys::image::Start::of_constructor(argc, argv, envp, constructor));
            }
            constructor
        };
    };
}
#[cfg_attr(not(feature = "auto"), allow(unused_imports))]
pub(crate) use before_main;

/// An environment variable, unless the program [`is_privileged`]; before another thread could change it.
pub(crate) fn variable(name: &CStr) -> Option<OsString> {
    if is_privileged() {
        return None;
    }
    // SAFETY: a valid name; no other thread changes the environment during this call.
    let value = unsafe { libc::getenv(name.as_ptr()) };
    // SAFETY: a string of the environment.
    (!value.is_null()).then(|| OsString::from_vec(unsafe { CStr::from_ptr(value) }.to_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_found_by_its_offset_and_data_is_none() {
        let address = code_is_found_by_its_offset_and_data_is_none as *const () as usize;
        let offset = offset_of(address).unwrap();
        assert_eq!(address_of(offset), Some(address));
        assert_eq!(offset_of(&raw const offset as usize), None);
        assert_eq!(offset_of(libc::getpid as *const () as usize), None, "libc's code is not the program's");
        assert_ne!(build(), 0);
    }

    #[test]
    fn the_build_id_is_found_among_other_notes() {
        let note = |name: &[u8], kind: u32, content: &[u8]| {
            let mut note = Vec::new();
            for word in [name.len() as u32, content.len() as u32, kind] {
                note.extend(word.to_ne_bytes());
            }
            note.extend(name);
            note.extend(content);
            note
        };
        let id: Vec<u8> = (1..=20).collect();
        let notes = [note(b"GNU\0", 1, &[0; 16]), note(b"GNU\0", 3, &id)].concat();
        assert_eq!(build_id(&notes, 4), Some(u128::from_ne_bytes(id[..16].try_into().unwrap())));
        assert_eq!(build_id(&notes[..20], 4), None);
    }
}
