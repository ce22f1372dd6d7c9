//! What the processes share.

use crate::Failure;
use crate::corpus::{Corpus, File, Job};
use crate::table::{Room, Slot};
use crossproc::{Array, Atomic, GetError, Queue, RawArray};
use serde::{Deserialize, Serialize};
use std::sync::atomic::Ordering::Relaxed;

/// What each worker gets, beside its part of the tables: handles, which lead to the same memory everywhere.
#[derive(Clone, Serialize, Deserialize)]
pub struct Shared {
    /// How large each table is; this is a copy.
    pub room: Room,
    paths: Array<u8>,
    files: Array<File>,
    /// What there is to do in this round.
    jobs: Queue<Job>,
    /// For each job of all rounds the number of the worker that took it, plus one; 0 is none. Without a lock, as each
    /// item is written by one.
    takers: RawArray<u32>,
    pub bytes_done: Atomic<u64>,
    /// For `--kill-one`: the victim is ready.
    pub stalled: Atomic<u32>,
}

impl Shared {
    pub fn new(corpus: &Corpus, repeat: u32, room: Room) -> Result<Self, Failure> {
        let jobs = corpus.jobs(repeat)?;
        Ok(Shared {
            room,
            paths: Array::from_slice(&corpus.paths)?,
            files: Array::from_slice(&corpus.files)?,
            takers: RawArray::zeroed(jobs.len())?,
            jobs: queue_of(jobs)?,
            bytes_done: Atomic::new(0)?,
            stalled: Atomic::new(0)?,
        })
    }

    /// A copy of the list of files. It is only ever read, so a process that was killed meanwhile has done no harm.
    pub fn corpus(&self) -> Result<Corpus, Failure> {
        let paths = self.paths.lock_or_repair(|_| ())?.to_vec();
        Ok(Corpus { paths, files: self.files.lock_or_repair(|_| ())?.to_vec() })
    }

    /// Takes the next job for the worker of this number. Killed between the two steps it leaves a job that no worker has,
    /// which `lost_jobs` finds as well.
    pub fn take_job(&self, number: u32) -> Result<Option<Job>, Failure> {
        match self.jobs.get() {
            Ok(job) => {
                self.takers.set(job as usize, number + 1);
                Ok(Some(job))
            }
            Err(GetError::Closed) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The jobs that no worker has done, when all workers have ended and the tables of these are empty.
    pub fn lost_jobs(&self, empty: &[u32]) -> Vec<Job> {
        let is_lost = |job: &Job| match self.takers.get(*job as usize) {
            Some(0) | None => true,
            Some(taker) => empty.contains(&(taker - 1)),
        };
        (0..self.takers.len() as Job).filter(is_lost).collect()
    }

    /// Makes these jobs the next round, for workers that are yet to start.
    pub fn hand_out(&mut self, jobs: &[Job], bytes_done: u64) -> Result<(), Failure> {
        for job in jobs {
            self.takers.set(*job as usize, 0);
        }
        self.jobs = queue_of(jobs.to_vec())?;
        self.bytes_done.store(bytes_done, Relaxed);
        Ok(())
    }
}

/// All that there is to do; nothing is added later.
fn queue_of(jobs: Vec<Job>) -> Result<Queue<Job>, Failure> {
    let queue = Queue::new()?;
    queue.put_many(jobs)?;
    queue.close();
    Ok(queue)
}

/// The tables of all workers in one array, to be divided into a part for each.
pub fn tables(room: Room, workers: u32) -> Result<Array<Slot>, Failure> {
    let items = room.items() * workers as usize;
    Array::zeroed(items).map_err(|error| {
        let (words, mib) = (room.words(), (items * size_of::<Slot>()) >> 20);
        Failure::Error(format!(
            "{workers} tables for {words} words each, {mib} MiB: {error}; ask for fewer --processes, or --words"
        ))
    })
}
