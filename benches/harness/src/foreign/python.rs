//! Python's own peers, and those of other packages, as far as the Python that is there has them.

use super::{Peer, Program, folder, write};
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::Command;

const MAIN: &str = "peers.py";
const SOURCES: [(&str, &str); 7] = [
    (MAIN, include_str!("../../foreign/peers.py")),
    ("channels.py", include_str!("../../foreign/channels.py")),
    ("locks.py", include_str!("../../foreign/locks.py")),
    ("managers.py", include_str!("../../foreign/managers.py")),
    ("pools.py", include_str!("../../foreign/pools.py")),
    ("sides.py", include_str!("../../foreign/sides.py")),
    ("starts.py", include_str!("../../foreign/starts.py")),
];

pub fn python() -> Peer {
    Peer::new(|| {
        let folder = folder()?;
        for (name, text) in SOURCES {
            write(&folder.join(name), text)?;
        }
        let python = interpreter();
        Program::start(Command::new(&python).arg(folder.join(MAIN))).with_context(|| python.display().to_string())
    })
}

/// That of the virtual environment which `make-venv.sh` makes, or of the system.
fn interpreter() -> PathBuf {
    const VENV: &str = "peers-venv";
    let chosen = std::env::var_os("CROSSPROC_PEERS").map(PathBuf::from);
    let me = std::env::current_exe().unwrap_or_default();
    let found = me.ancestors().map(|folder| folder.join(VENV));
    let mut pythons = chosen.into_iter().chain(found).map(|folder| folder.join("bin/python3"));
    pythons.find(|python| python.exists()).unwrap_or_else(|| "python3".into())
}

/// Of Python and of the packages that are peers.
pub fn versions() -> Result<Vec<(String, String)>> {
    const LOOK: &str = "\
import importlib.metadata, platform
print('python', platform.python_version())
for name in 'faster-fifo', 'loky', 'mpire':
    try:
        print(name, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        pass";
    let output = Command::new(interpreter()).args(["-c", LOOK]).output()?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, version)| (name.into(), version.into()))
        .collect())
}
