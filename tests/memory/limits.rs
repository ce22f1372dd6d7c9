//! The limits of memory, cgroups, `/dev/shm` and descriptors: a typed error at once, no OOM killer, no `SIGBUS`, and
//! normal operation afterwards.

use crate::util::{
    self, Counts, NOT_RUN, alone, could_not_run, exit, fork, is_root, name_exists, program, role, say, unique,
};
use crossproc::{Array, ArrayError, Os, Part, RawArray, SegmentError, Value, transfer};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;

/// Everything works here, and with another program.
fn all_is_well() {
    let value = Value::new(1).unwrap();
    *value.lock().unwrap() += 1;
    let name = &unique("well");
    let array = Array::named(name).create(&[1_u16; 1000]).unwrap();
    let (here, there) = UnixStream::pair().unwrap();
    let other = program(role_checks, name, Some(&there));
    transfer::send(&here, &value).unwrap();
    let back: Value<i32> = transfer::recv(&here).unwrap();
    other.join();
    assert_eq!((value.get(), back.get(), array.get(999)), (3, 3, Ok(7)));
    drop(array);
    assert!(!name_exists(name));
}

#[test]
fn role_checks() {
    let Some(name) = role() else { return };
    let stream = util::role_stream();
    let value: Value<i32> = transfer::recv(&stream).unwrap();
    *value.lock().unwrap() += 1;
    let array = Array::<u16>::named(&name).open().unwrap();
    array.set(999, 7).unwrap();
    transfer::send(&stream, &value).unwrap();
}

#[test]
fn an_array_of_length_0_works() {
    alone(60, || {
        let name = &unique("zero");
        let named = Array::<u64>::named(name).create(&[]).unwrap();
        let opened = Array::<u64>::named(name).open().unwrap();
        let zeroed = Array::<u64>::named(&unique("zeroed")).create_zeroed(0).unwrap();
        for array in [Array::zeroed(0).unwrap(), Array::from_slice(&[]).unwrap(), named, opened, zeroed] {
            assert_eq!((array.len(), array.is_empty(), array.to_vec()), (0, true, Ok(vec![])));
            assert_eq!(array.get(0), Err(ArrayError::OutOfBounds { index: 0, len: 0 }));
            assert_eq!(array.set(0, 1), Err(ArrayError::OutOfBounds { index: 0, len: 0 }));
            assert_eq!(array.copy_from_slice(&[1]), Err(ArrayError::LengthMismatch { got: 1, len: 0 }));
            assert_eq!((array.copy_from_slice(&[]), array.fill(9)), (Ok(()), Ok(())));
            assert!(array.lock().unwrap().is_empty());
            assert!(array.lock_or_repair(|_| panic!("nobody died")).unwrap().is_empty());
            assert_eq!(array.parts(0).unwrap().len(), 0);
            for n in [1, 3, 2000] {
                let parts: Vec<Part<u64>> = array.parts(n).unwrap();
                assert_eq!(parts.len(), n);
                assert!(parts.iter().all(|part| part.is_empty() && part.range() == (0..0)));
                assert!(parts[0].lock().unwrap().is_empty());
                fork(|| assert_eq!(parts[n - 1].to_vec(), Ok(vec![]))).join();
            }
            fork(|| assert!(array.lock().unwrap().is_empty())).join();
        }
        assert!(!name_exists(name));
        let raw = RawArray::<u8>::zeroed(0).unwrap();
        assert_eq!((raw.len(), raw.get(0), raw.set(0, 1)), (0, None, None));
    });
}

#[test]
fn a_length_that_overflows_is_too_large() {
    alone(60, || {
        let name = &unique("overflow");
        let most = isize::MAX as usize;
        for len in [usize::MAX, usize::MAX / 2, usize::MAX / 8, usize::MAX / 8 + 1, most, most / 8 + 1, most / 8] {
            assert_eq!(Array::<u64>::zeroed(len).unwrap_err(), SegmentError::TooLarge, "{len}");
            assert_eq!(RawArray::<u64>::zeroed(len).unwrap_err(), SegmentError::TooLarge, "{len}");
            assert_eq!(Array::<u64>::named(name).create_zeroed(len).unwrap_err(), SegmentError::TooLarge, "{len}");
            assert_eq!(Array::<[u64; 999]>::zeroed(len).unwrap_err(), SegmentError::TooLarge, "{len}");
        }
        assert_eq!(Array::<u8>::zeroed(most).unwrap_err(), SegmentError::TooLarge);
        assert_eq!(Array::<u8>::zeroed(most - 4096).unwrap_err(), SegmentError::TooLarge);
        assert!(!name_exists(name));
        all_is_well();
    });
}

#[test]
fn more_than_all_memory_is_no_space_at_once_and_touches_none() {
    alone(60, || {
        let name = &unique("huge");
        let before = Counts::now();
        let start = Instant::now();
        for shift in [43, 46, 50, 59, 61] {
            let check = |result: Result<(), SegmentError>| {
                assert!(matches!(result, Err(SegmentError::NoSpace | SegmentError::TooLarge)), "2^{shift}: {result:?}");
            };
            check(Array::<u8>::zeroed(1 << shift).map(drop));
            check(RawArray::<u8>::zeroed(1 << shift).map(drop));
            check(Array::<u8>::named(name).create_zeroed(1 << shift).map(drop));
            check(Array::<u64>::zeroed(1 << (shift - 3)).map(drop));
        }
        assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
        let after = Counts::now();
        assert!(after.rss_kib < before.rss_kib + 4096, "{before:?} {after:?}");
        assert_eq!((after.fds, name_exists(name)), (before.fds, false));
        all_is_well();
    });
}

/// A cgroup of our own with a memory limit, below the one that we are in. Dropped, it is removed.
struct Cgroup {
    folder: PathBuf,
}

impl Cgroup {
    fn with_limit(bytes: usize) -> Result<Self, String> {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").map_err(|error| error.to_string())?;
        let groups = std::fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
        let mount = |kind: &str, option: &str| {
            let line = mounts.lines().find(|line| {
                let (_, end) = line.split_once(" - ").unwrap_or_default();
                end.starts_with(&format!("{kind} ")) && end.split([',', ' ']).any(|field| field == option)
            })?;
            Some(PathBuf::from(line.split(' ').nth(4)?))
        };
        let own = |wanted: &dyn Fn(&str) -> bool| {
            let line = groups.lines().find(|line| wanted(line))?;
            Some(line.splitn(3, ':').nth(2)?.trim_start_matches('/').to_owned())
        };
        let v1 = |line: &str| line.split(':').nth(1).is_some_and(|list| list.split(',').any(|name| name == "memory"));
        let (parent, limit) = match (mount("cgroup", "memory"), own(&v1)) {
            (Some(mount), Some(own)) => (mount.join(own), "memory.limit_in_bytes"),
            _ => match (mount("cgroup2", "rw"), own(&|line| line.starts_with("0::"))) {
                (Some(mount), Some(own)) => {
                    // Only below a group that passes the controller on; one that has processes does not.
                    let passes_on = |folder: &&Path| {
                        let list = std::fs::read_to_string(folder.join("cgroup.subtree_control")).unwrap_or_default();
                        list.split_ascii_whitespace().any(|name| name == "memory")
                    };
                    let own = mount.join(own);
                    let Some(parent) = own.ancestors().take_while(|f| f.starts_with(&mount)).find(passes_on) else {
                        return Err("no cgroup above us passes the memory controller on".into());
                    };
                    (parent.to_owned(), "memory.max")
                }
                _ => return Err("no memory cgroup is mounted".into()),
            },
        };
        let folder = parent.join(format!("crossproc-{}", unique("limit")));
        let tell = |what: &Path, error: std::io::Error| format!("{}: {error}", what.display());
        std::fs::create_dir(&folder).map_err(|error| tell(&folder, error))?;
        let group = Cgroup { folder };
        let limit = group.folder.join(limit);
        std::fs::write(&limit, bytes.to_string()).map_err(|error| tell(&limit, error))?;
        Ok(group)
    }

    fn enter(&self) -> std::io::Result<()> {
        std::fs::write(self.folder.join("cgroup.procs"), std::process::id().to_string())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        util::until("the cgroup is empty", || std::fs::remove_dir(&self.folder).is_ok() || !self.folder.exists());
    }
}

#[test]
fn in_a_memory_cgroup_too_much_is_no_space_and_not_the_oom_killer() {
    const PART: &str = "a memory cgroup with a limit";
    if !is_root() {
        return could_not_run(PART, "only root can make one");
    }
    let group = match Cgroup::with_limit(64 * MIB) {
        Ok(group) => group,
        Err(why) => return could_not_run(PART, &why),
    };
    let mut child = fork(|| {
        if let Err(error) = group.enter() {
            say(&format!("{}: {error}\n", group.folder.display()));
            exit(NOT_RUN);
        }
        let name = &unique("limited");
        for _ in 0..3 {
            assert_eq!(Array::<u8>::zeroed(100 * MIB).unwrap_err(), SegmentError::NoSpace);
            assert_eq!(Array::<u8>::named(name).create_zeroed(100 * MIB).unwrap_err(), SegmentError::NoSpace);
            assert_eq!(RawArray::<u64>::zeroed(100 * MIB / 8).unwrap_err(), SegmentError::NoSpace);
            assert!(!name_exists(name));
            let small = Array::<u8>::zeroed(16 * MIB).unwrap();
            small.lock().unwrap().fill(1);
            let named = Array::<u8>::named(name).create_zeroed(16 * MIB).unwrap();
            named.fill(2).unwrap();
            assert_eq!((small.get(16 * MIB - 1), named.get(16 * MIB - 1)), (Ok(1), Ok(2)));
        }
        // By and by: the last that fits is followed by an error.
        let mut kept = Vec::new();
        let error = loop {
            match Array::<u8>::zeroed(4 * MIB) {
                Ok(array) => kept.push(array),
                Err(error) => break error,
            }
        };
        assert!(error == SegmentError::NoSpace && (4..16).contains(&kept.len()), "{error:?} after {}", kept.len());
        kept.iter().for_each(|array| array.fill(3).unwrap());
        drop(kept);
        assert!(Array::<u8>::zeroed(16 * MIB).is_ok());
        let mut kept = Vec::new();
        let error = loop {
            match Value::new([kept.len(); 1000]) {
                Ok(value) => kept.push(value),
                Err(error) => break error,
            }
        };
        assert!(error == SegmentError::NoSpace && kept.len() > 500, "{error:?} after {}", kept.len());
        assert!(kept.iter().enumerate().all(|(i, value)| value.get() == [i; 1000]));
    });
    match child.wait() {
        NOT_RUN => could_not_run(PART, "it cannot be entered"),
        code => assert_eq!(code, 0),
    }
}

/// Gives this process a small `/dev/shm` of its own; ends it with [`NOT_RUN`] where that is refused.
fn small_shm(options: &str) {
    let mount = |source: &std::ffi::CStr, target: &std::ffi::CStr, kind: &std::ffi::CStr, flags, data: &str| {
        let data = std::ffi::CString::new(data).unwrap();
        // SAFETY: all strings end with a NUL.
        unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast()) == 0 }
    };
    let private = libc::MS_REC | libc::MS_PRIVATE;
    if !util::unshare(libc::CLONE_NEWNS)
        || !mount(c"none", c"/", c"none", private, "")
        || !mount(c"tmpfs", c"/dev/shm", c"tmpfs", 0, options)
    {
        say(&format!("a small /dev/shm: {}\n", std::io::Error::last_os_error()));
        exit(NOT_RUN);
    }
}

fn with_small_shm(options: &'static str, test: impl FnOnce()) {
    const PART: &str = "a small /dev/shm";
    if !is_root() {
        return could_not_run(PART, "only root can mount one");
    }
    let mut child = fork(|| {
        small_shm(options);
        test();
    });
    match child.wait() {
        NOT_RUN => could_not_run(PART, "unshare or mount is refused"),
        code => assert_eq!(code, 0),
    }
}

#[test]
fn on_a_full_tmpfs_a_named_object_is_no_space_and_its_name_does_not_appear() {
    with_small_shm("size=1m", || {
        let name = &unique("full");
        for _ in 0..3 {
            for len in [MIB, 2 * MIB, 64 * MIB] {
                assert_eq!(Array::<u8>::named(name).create_zeroed(len).unwrap_err(), SegmentError::NoSpace);
                assert_eq!(Array::named(name).open_or_create(&vec![1_u8; len]).unwrap_err(), SegmentError::NoSpace);
                assert!(!name_exists(name));
            }
            let array = Array::named(name).create(&vec![5_u8; MIB / 4]).unwrap();
            array.lock().unwrap().fill(6);
            program(role_fills, name, None).join();
            assert_eq!(array.get(MIB / 4 - 1), Ok(7));
        }
        let mut kept = Vec::new();
        let error = loop {
            match Value::named(&unique("many")).create([kept.len(); 2000]) {
                Ok(value) => kept.push(value),
                Err(error) => break error,
            }
        };
        assert!(error == SegmentError::NoSpace && kept.len() > 10, "{error:?} after {}", kept.len());
        kept.iter().for_each(|value| value.lock().unwrap()[1999] = 1);
        kept.pop();
        kept.push(Value::named(&unique("again")).create([0; 2000]).unwrap());
        drop(kept);
        assert_eq!(util::names_left(), Vec::<String>::new());
        // Nameless memory is not in /dev/shm.
        Array::<u8>::zeroed(4 * MIB).unwrap().fill(1).unwrap();
    });
}

#[test]
fn role_fills() {
    let Some(name) = role() else { return };
    Array::<u8>::named(&name).open().unwrap().fill(7).unwrap();
}

#[test]
fn without_inodes_or_rights_a_named_object_is_a_typed_error() {
    with_small_shm("size=1m,nr_inodes=3", || {
        let kept = [0, 1].map(|i| Value::named(&unique("inode")).create(i).unwrap());
        assert_eq!(Value::named(&unique("inode")).create(3).unwrap_err(), SegmentError::NoSpace);
        drop(kept);
        assert!(Value::named(&unique("inode")).create(3).is_ok());
    });
    with_small_shm("size=1m,ro", || {
        let readonly = SegmentError::Os(Os(libc::EROFS));
        assert_eq!(Value::named(&unique("ro")).create(3).unwrap_err(), readonly);
        assert_eq!(Value::<i32>::named(&unique("ro")).open().unwrap_err(), SegmentError::NotFound);
        assert!(Value::new(1).is_ok());
    });
}
