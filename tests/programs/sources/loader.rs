//! A program that loads a library. If it is ever executed to be somebody's server, it is executed again and again.

unsafe extern "C" {
    fn dlopen(path: *const std::ffi::c_char, flags: i32) -> *mut std::ffi::c_void;
    fn dlsym(library: *mut std::ffi::c_void, name: *const std::ffi::c_char) -> *mut std::ffi::c_void;
}

fn main() {
    let path = std::ffi::CString::new(std::env::args().nth(1).unwrap()).unwrap();
    // SAFETY: a library built beside this program, whose function takes nothing and gives a number.
    let seen = unsafe {
        let library = dlopen(path.as_ptr(), 2);
        assert!(!library.is_null());
        let function = dlsym(library, c"spawn_from_plugin".as_ptr());
        std::mem::transmute::<*mut std::ffi::c_void, extern "C" fn() -> i32>(function)()
    };
    println!("plugin: {seen}");
}
