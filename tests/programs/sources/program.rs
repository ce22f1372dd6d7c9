//! A program that uses the library, built in unusual ways. It says what it sees, a line each.

use crossproc::{JoinError, Process, StartMethod, Value};

fn add(value: Value<u32>, n: u32) -> u32 {
    value.update(|v| *v += n).unwrap();
    n
}

fn tell(what: &str, seen: impl std::fmt::Debug) {
    println!("{what}: {seen:?}");
}

fn main() {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("replaced") => {
            // Another file has the program's name from here on.
            let path = std::env::current_exe().unwrap();
            let other = path.with_extension("other");
            std::fs::copy(args.next().unwrap(), &other).unwrap();
            std::fs::rename(&other, &path).unwrap();
        }
        Some("removed") => std::fs::remove_file(std::env::current_exe().unwrap()).unwrap(),
        _ => {}
    }
    let value = Value::new(40).unwrap();
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        let child = Process::builder().start_method(method).spawn(add, (value.clone(), 1));
        match child {
            Ok(child) => tell("result", child.join()),
            Err(error) => tell("error", error),
        }
    }
    tell("value", value.get());
    tell("closure", Process::spawn(|a: u8| a + 1, (1,)).map(Process::join));
    if let Ok(child) = Process::spawn(|| panic!("as it is"), ()) {
        match child.join() {
            Err(JoinError::Panicked { message, location, .. }) => tell("panic", (message, location.is_some())),
            other => tell("no panic", other),
        }
    }
    tell("args", Process::spawn(|| std::env::args().skip(1).collect::<Vec<_>>(), ()).map(Process::join));
}
