//! What the processes share, each object under a name of its own.

use crate::Failure;
use crate::args::Args;
use crate::corpus::{Corpus, File};
use crate::table::{Room, Slot};
use crossproc::bytemuck::{Pod, Zeroable};
use crossproc::{Array, Atomic, RawArray, SegmentError, Value};
use std::sync::atomic::Ordering::Relaxed;

/// What there is to do.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[bytemuck(crate = "crossproc::bytemuck")]
#[repr(C)]
pub struct Plan {
    pub room: Room,
    /// How many of `jobs` there are in this round.
    pub jobs: u64,
    /// Into how many parts the tables are divided.
    pub parts: u32,
    /// Who waits for the workers.
    pub parent: u32,
}

/// A file to count; with `--repeat` there are several for one file.
pub type Job = u32;

pub struct Shared {
    /// What the names begin with.
    pub run: String,
    pub plan: Value<Plan>,
    paths: Array<u8>,
    files: Array<File>,
    jobs: RawArray<Job>,
    /// For each job the part of who took it, plus one; 0 is nobody. Without a lock, as each item is written by one.
    takers: RawArray<u32>,
    next: Atomic<u64>,
    pub bytes_done: Atomic<u64>,
    /// For `--kill-one`: the victim is ready.
    pub stalled: Atomic<u32>,
    pub tables: Array<Slot>,
}

impl Shared {
    pub fn create(corpus: &Corpus, args: &Args, room: Room) -> Result<Self, Failure> {
        let jobs = jobs(corpus, args.repeat)?;
        let parts = args.processes();
        let run = format!("wordcount-{}", std::process::id());
        let name = |object: &str| format!("{run}.{object}");
        let plan = Plan { room, jobs: jobs.len() as u64, parts, parent: std::process::id() };
        let tables = Array::named(&name("tables")).create_zeroed(room.items() * parts as usize);
        Ok(Shared {
            tables: tables.map_err(|error| no_room(&error, room, parts))?,
            plan: Value::named(&name("plan")).create(plan)?,
            paths: Array::named(&name("paths")).create(&corpus.paths)?,
            files: Array::named(&name("files")).create(&corpus.files)?,
            jobs: RawArray::named(&name("jobs")).create(&jobs)?,
            takers: RawArray::named(&name("takers")).create_zeroed(jobs.len())?,
            next: Atomic::named(&name("next")).create(0)?,
            bytes_done: Atomic::named(&name("bytes-done")).create(0)?,
            stalled: Atomic::named(&name("stalled")).create(0)?,
            run,
        })
    }

    pub fn open(run: &str) -> Result<Self, Failure> {
        let name = |object: &str| format!("{run}.{object}");
        Ok(Shared {
            plan: Value::named(&name("plan")).open()?,
            paths: Array::named(&name("paths")).open()?,
            files: Array::named(&name("files")).open()?,
            jobs: RawArray::named(&name("jobs")).open()?,
            takers: RawArray::named(&name("takers")).open()?,
            next: Atomic::named(&name("next")).open()?,
            bytes_done: Atomic::named(&name("bytes-done")).open()?,
            stalled: Atomic::named(&name("stalled")).open()?,
            tables: Array::named(&name("tables")).open()?,
            run: run.to_owned(),
        })
    }

    /// A copy of the list of files. It is only ever read, so one who was killed meanwhile has done no harm.
    pub fn corpus(&self) -> Result<Corpus, Failure> {
        let paths = self.paths.lock_or_repair(|_| ())?.to_vec();
        Ok(Corpus { paths, files: self.files.lock_or_repair(|_| ())?.to_vec() })
    }

    /// Takes the next job for the worker of this part. Killed between the two steps it leaves a job that nobody has,
    /// which `lost_jobs` finds as well.
    pub fn take_job(&self, plan: &Plan, part: u32) -> Option<Job> {
        let next = self.next.fetch_add(1, Relaxed);
        let job = self.jobs.get(next as usize).filter(|_| next < plan.jobs)?;
        self.takers.set(job as usize, part + 1)?;
        Some(job)
    }

    /// The jobs that nobody has done, when all workers have ended and the tables of these parts are empty.
    pub fn lost_jobs(&self, empty: &[u32]) -> Vec<Job> {
        let is_lost = |job: &Job| match self.takers.get(*job as usize) {
            Some(0) | None => true,
            Some(taker) => empty.contains(&(taker - 1)),
        };
        (0..self.takers.len() as Job).filter(is_lost).collect()
    }

    /// Makes these jobs the next round, while no worker lives.
    pub fn hand_out(&self, jobs: &[Job], bytes_done: u64) -> Result<(), Failure> {
        for (i, job) in jobs.iter().enumerate() {
            self.jobs.set(i, *job);
            self.takers.set(*job as usize, 0);
        }
        self.plan.update(|plan| plan.jobs = jobs.len() as u64)?;
        self.bytes_done.store(bytes_done, Relaxed);
        self.next.store(0, Relaxed);
        Ok(())
    }
}

/// The largest files first, so that nobody is left with one at the end.
fn jobs(corpus: &Corpus, repeat: u32) -> Result<Vec<Job>, Failure> {
    let count = corpus.files.len() as u64 * u64::from(repeat);
    let count = Job::try_from(count).map_err(|_| Failure::Usage("too many files; lower --repeat".into()))?;
    let mut jobs: Vec<Job> = (0..count).collect();
    jobs.sort_by_key(|job| std::cmp::Reverse(corpus.files[*job as usize % corpus.files.len()].size));
    Ok(jobs)
}

fn no_room(error: &SegmentError, room: Room, parts: u32) -> Failure {
    let (words, mib) = (room.words(), (room.items() * parts as usize * size_of::<Slot>()) >> 20);
    Failure::Error(format!(
        "{parts} tables for {words} words each, {mib} MiB: {error}; ask for fewer --processes, or --words"
    ))
}
