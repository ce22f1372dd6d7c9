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

/// A file to count; with `--repeat` there are several for one file.
pub type Job = u32;

/// All files, by their paths in order.
pub struct Corpus {
    pub paths: Vec<u8>,
    pub files: Vec<File>,
}

impl Corpus {
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// What there is to do: the largest files first, so that no worker is left with one at the end.
    pub fn jobs(&self, repeat: u32) -> Result<Vec<Job>, Failure> {
        let count = self.files.len() as u64 * u64::from(repeat);
        let count = Job::try_from(count).map_err(|_| Failure::Usage("too many files; lower --repeat".into()))?;
        let mut jobs: Vec<Job> = (0..count).collect();
        jobs.sort_by_key(|job| std::cmp::Reverse(self.file(*job).size));
        Ok(jobs)
    }

    pub fn file(&self, job: Job) -> File {
        self.files[job as usize % self.files.len()]
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
