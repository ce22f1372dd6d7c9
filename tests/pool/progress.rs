//! Progress bars: the output on a terminal, and no output elsewhere.
#![cfg(feature = "progress")]

use super::common::square;
use crate::util::{in_a_program, role, until};
use crossproc::Pool;
use std::cell::Cell;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::{Arc, Mutex};

/// From here on, the standard error is a terminal, and what it shows is kept. Panics are told to who started the
/// program.
fn terminal() -> Arc<Mutex<String>> {
    // SAFETY: numbers alone; what it gives is new, and nobody else's.
    let before = unsafe { File::from_raw_fd(libc::dup(2)) };
    std::panic::set_hook(Box::new(move |panic| writeln!(&before, "{panic}").unwrap()));
    let (mut screen, mut line) = (-1, -1);
    let size = libc::winsize { ws_row: 24, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: numbers in, numbers out; no name and no settings.
    let opened = unsafe {
        libc::openpty(&mut screen, &mut line, std::ptr::null_mut(), std::ptr::null(), std::ptr::from_ref(&size))
    };
    assert_eq!(opened, 0);
    // SAFETY: both are new, and nobody else's.
    let (mut screen, line) = unsafe { (File::from_raw_fd(screen), File::from_raw_fd(line)) };
    // SAFETY: numbers alone.
    assert_eq!(unsafe { libc::dup2(line.as_raw_fd(), 2) }, 2);
    let shown = Arc::new(Mutex::new(String::new()));
    let to = shown.clone();
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(read) = screen.read(&mut bytes) {
            to.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
    });
    shown
}

#[test]
fn maps_show_how_far_they_are() {
    in_a_program(60, maps_show_how_far_they_are_role);
}

#[test]
fn maps_show_how_far_they_are_role() {
    let Some(_) = role() else { return };
    let shown = terminal();
    // The output from here on: after a line of our own, before which all earlier output comes.
    let marks = Cell::new(0);
    let mark = || {
        marks.set(marks.get() + 1);
        let line = format!("mark {}\r\n", marks.get());
        std::io::stderr().write_all(line.replace('\r', "").as_bytes()).unwrap();
        until(&line, || shown.lock().unwrap().contains(&line));
        let text = shown.lock().unwrap();
        text.find(&line).unwrap() + line.len()
    };
    let shows = |from: usize, what: &str| until(what, || shown.lock().unwrap()[from..].contains(what));
    let pool = Pool::builder().processes(2).progress(true).build().unwrap();
    assert_eq!(pool.map(square, 0..2500).unwrap().len(), 2500);
    shows(0, "2,500/2,500");
    shows(0, "/s eta ");
    let from = mark();
    assert_eq!(pool.map_async(square, 0..40).get().unwrap().len(), 40);
    shows(from, "40/40");
    let from = mark();
    assert_eq!(pool.imap(square, 0..7).count(), 7);
    shows(from, "7/7");
    let from = mark();
    assert_eq!(pool.map_with(&2, |k: &u64, n: u64| k * n, 0..9).unwrap().len(), 9);
    shows(from, "9/9");
    let from = mark();
    // How many there are is not known.
    assert_eq!(pool.imap(square, (0..).take_while(|n| *n < 5)).count(), 5);
    shows(from, " 5 ");
    let before = mark();
    let quiet = Pool::new(2).unwrap();
    assert_eq!(quiet.map(square, 0..100).unwrap().len(), 100);
    assert_eq!(pool.apply(square, (3,)), Ok(9));
    let after = mark();
    assert_eq!(
        &shown.lock().unwrap()[before..after],
        format!("mark {}\r\n", marks.get()),
        "a map of such a pool alone"
    );
}
