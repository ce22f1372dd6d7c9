//! Boost.Interprocess: a program that is compiled where it is used.

use super::{Peer, Program, beside, folder, write};
use anyhow::{Context, Result, ensure};
use std::fs::rename;
use std::io::{ErrorKind, Write};
use std::process::{Command, Stdio};

const MAIN: &str = "boost.cpp";
const SOURCES: [(&str, &str); 5] = [
    (MAIN, include_str!("../../foreign/boost.cpp")),
    ("locks.hpp", include_str!("../../foreign/locks.hpp")),
    ("messages.hpp", include_str!("../../foreign/messages.hpp")),
    ("pong.hpp", include_str!("../../foreign/pong.hpp")),
    ("sides.hpp", include_str!("../../foreign/sides.hpp")),
];
const COMPILER: &str = "c++";

pub fn boost() -> Peer {
    Peer::new(|| {
        version()?;
        Program::start(&mut compiled()?)
    })
}

/// Of the headers. Fails when there are none.
pub fn version() -> Result<String> {
    const LOOK: &str = "#if __has_include(<boost/interprocess/ipc/message_queue.hpp>)\n\
                        #include <boost/version.hpp>\nBOOST_LIB_VERSION\n#endif\n";
    let mut command = Command::new(COMPILER);
    command.args(["-x", "c++", "-E", "-P", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut compiler = command.spawn().map_err(|error| match error.kind() {
        ErrorKind::NotFound => anyhow::anyhow!("no C++ compiler: {COMPILER}"),
        _ => error.into(),
    })?;
    compiler.stdin.take().context("no pipe")?.write_all(LOOK.as_bytes())?;
    let output = String::from_utf8(compiler.wait_with_output()?.stdout)?;
    ensure!(!output.trim().is_empty(), "Boost's headers are not there: libboost-dev");
    Ok(output.trim().trim_matches('"').replace('_', "."))
}

/// Anew when the source is not what it was.
fn compiled() -> Result<Command> {
    let folder = folder()?;
    let program = folder.join("boost");
    let mut is_old = !program.exists();
    for (name, text) in SOURCES {
        if !write(&folder.join(name), text)? {
            is_old = true;
        }
    }
    if is_old {
        let new = beside(&program);
        let mut command = Command::new(COMPILER);
        command.args(["-O2", "-std=c++17", "-o"]).arg(&new).arg(folder.join(MAIN)).args(["-lpthread", "-lrt"]);
        let output = command.output().context(COMPILER)?;
        ensure!(output.status.success(), "{COMPILER}: {}", String::from_utf8_lossy(&output.stderr).trim());
        rename(new, &program)?;
    }
    Ok(Command::new(program))
}
