//! The files, found once, so that all processes see the same list.

use crate::Failure;
use crossproc::bytemuck::{Pod, Zeroable};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A file of the list: where its path is, and how many bytes it had when it was found.
#[derive(Clone, Copy, Pod, Zeroable)]
#[bytemuck(crate = "crossproc::bytemuck")]
#[repr(C)]
pub struct File {
    start: u64,
    end: u64,
    pub size: u64,
}

/// All files, by their paths in order.
pub struct Corpus {
    pub paths: Vec<u8>,
    pub files: Vec<File>,
}

impl Corpus {
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    pub fn path(&self, file: File) -> &Path {
        Path::new(OsStr::from_bytes(&self.paths[file.start as usize..file.end as usize]))
    }
}

/// Regular files below a directory, or the one that `top` is. Symbolic links are not followed, directories that cannot
/// be read are passed over.
pub fn find(top: &Path) -> Result<Corpus, Failure> {
    let named = |error| Failure::Usage(format!("{}: {error}", top.display()));
    let mut found = Vec::new();
    if fs::metadata(top).map_err(named)?.is_dir() {
        fs::read_dir(top).map_err(named)?;
        walk(top.to_owned(), &mut found);
    } else {
        found.push((top.to_owned(), fs::metadata(top).map_err(named)?.len()));
    }
    found.sort();
    let mut corpus = Corpus { paths: Vec::new(), files: Vec::with_capacity(found.len()) };
    for (path, size) in found {
        let start = corpus.paths.len() as u64;
        corpus.paths.extend_from_slice(path.as_os_str().as_bytes());
        corpus.files.push(File { start, end: corpus.paths.len() as u64, size });
    }
    Ok(corpus)
}

fn walk(top: PathBuf, found: &mut Vec<(PathBuf, u64)>) {
    let mut directories = vec![top];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => directories.push(entry.path()),
                Ok(metadata) if metadata.is_file() => found.push((entry.path(), metadata.len())),
                _ => {}
            }
        }
    }
}
