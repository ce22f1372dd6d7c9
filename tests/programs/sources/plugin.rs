//! A library that a program loads: the program knows nothing of crossproc, and cannot be executed to be a server.

#[unsafe(no_mangle)]
extern "C" fn spawn_from_plugin() -> i32 {
    match crossproc::Process::spawn(|| 7, ()) {
        Err(crossproc::SpawnError::NotHooked) => 1,
        Err(_) => 2,
        Ok(_) => 3,
    }
}
