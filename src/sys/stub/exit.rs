//! Stub of `exit`.

pub(crate) fn at_exit(_: fn()) {}

macro_rules! exit_function {
    ($name:ident, $body:expr) => {
        fn $name() {
            $body
        }
    };
}
pub(crate) use exit_function;

pub(crate) fn exit(code: i32) -> ! {
    std::process::exit(code)
}

pub(crate) fn exit_copy(code: i32) -> ! {
    std::process::exit(code)
}

pub(crate) fn exit_at_once(code: i32) -> ! {
    std::process::exit(code)
}

pub(crate) fn flush() {}
