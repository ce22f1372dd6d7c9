//! crossproc together with other crates, whose dependencies the tests of the library itself do without.

#[path = "../../../tests/util/mod.rs"]
mod util;

mod peers;
mod runtime;
