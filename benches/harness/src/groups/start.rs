//! What it costs to start a child and to join it: wall-clock time, child after child, each with a result that is
//! checked.
//!
//! Nothing here is pinned, for children inherit that.

use crate::foreign::{Peer, Program, READY, python};
use crate::measure::{Job, Plan, Row, check, interleave, quantile};
use crate::process::{now, unpin};
use crate::raw_memory::{enough_memory, grow};
use anyhow::{Result, ensure};
use crossproc::{Process, StartMethod, Value};
use std::io::{Error, stdin};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Barrier};

const GROUP: &str = "start";
const TRUE: &str = "/bin/true";
const TOUCHED: usize = 512 << 20;
const THREADS: usize = 8;
/// What a child ends with that has nothing else to show.
const CODE: i32 = 7;

pub fn run(plan: &Plan) -> Result<Vec<Row>> {
    unpin()?;
    let children = if plan.quick { 30 } else { 100 };
    let (total, python) = (Value::new(0_u64)?, python());
    let mut jobs = vec![
        job("fork server", children, |_| fork_server()).ours(),
        job("fork server, 1 KiB argument and result", children, kilobyte).ours(),
        job("fork server, a Value as argument", children, |_| value(&total)).ours(),
        job("spawn (executed anew)", children, executed).ours(),
        job("crossproc::fork from a small parent", children, forked).ours(),
        command(children),
        job("procspawn", children, procspawned),
        job("raw fork + _exit + waitpid", children, |_| raw_fork()).limit(),
    ];
    jobs.append(&mut small_and_big(children)?);
    jobs.push(snakes(children / 10, &python));
    interleave(GROUP, plan, jobs)
}

/// Microseconds for each child; `body` starts one, joins it, and looks whether it did what it should.
fn job<'a>(name: &str, children: u64, mut body: impl FnMut(u64) -> Result<()> + 'a) -> Job<'a> {
    let rows = vec![(name.into(), "us"), (format!("{name}: p99"), "us")];
    Job::new(rows, move || {
        let mut each = Vec::new();
        let start = now();
        for number in 0..children {
            let start = now();
            body(number)?;
            each.push(per_child(start, 1));
        }
        Ok(vec![per_child(start, children), quantile(&mut each, 0.99)])
    })
}

fn per_child(start: u64, children: u64) -> f64 {
    (now() - start) as f64 / 1e3 / children as f64
}

/// There is no result without a report of the child.
fn fork_server() -> Result<()> {
    Ok(Process::spawn(|| (), ())?.join()?)
}

fn kilobyte(round: u64) -> Result<()> {
    let argument: Vec<u8> = (round..round + 1024).map(|i| i as u8).collect();
    let backwards = |mut bytes: Vec<u8>| {
        bytes.reverse();
        bytes
    };
    let result = Process::spawn(backwards, (argument.clone(),))?.join()?;
    check("1 KiB, backwards", result, argument.into_iter().rev().collect())
}

fn value(total: &Value<u64>) -> Result<()> {
    let before = total.get();
    let add = |total: Value<u64>| -> crossproc::Result<()> {
        *total.lock()? += 1;
        Ok(())
    };
    Process::spawn(add, (total.clone(),))?.join()??;
    check("the Value", total.get(), before + 1)
}

fn executed(round: u64) -> Result<()> {
    let child = Process::builder().start_method(StartMethod::Spawn).spawn(|n: u64| n + 1, (round,))?;
    check("the result", child.join()?, round + 1)
}

fn forked(round: u64) -> Result<()> {
    // SAFETY: this process has one thread.
    let child = unsafe { crossproc::fork(move || round + 1) }?;
    check("the result", child.join()?, round + 1)
}

fn command(children: u64) -> Job<'static> {
    let name = format!("Command of {TRUE}");
    if !Path::new(TRUE).exists() {
        return Job::missing(&name, format!("there is no {TRUE}"));
    }
    job(&name, children, |_| {
        let status = Command::new(TRUE).status()?;
        ensure!(status.success(), "{TRUE}: {status}");
        Ok(())
    })
}

/// As its documentation has it: `procspawn::init()` first in `main`, the default configuration (arguments are passed
/// on, panics are caught, with backtraces), the default features, and `spawn` and `join`. Its pool starts no child for
/// a call.
fn procspawned(round: u64) -> Result<()> {
    check("the result", procspawn::spawn(round, |n| n + 1).join()?, round + 1)
}

/// The system call itself: the C library's `fork` would run the handlers that crossproc has for forks, too.
fn raw_fork() -> Result<()> {
    let mut status = 0;
    // SAFETY: no memory is shared and the stack is a copy, as with `fork`; the child calls nothing but `_exit`.
    let ended = unsafe {
        match libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) {
            0 => libc::_exit(CODE),
            -1 => -1,
            pid => libc::waitpid(pid as libc::pid_t, &raw mut status, 0),
        }
    };
    ensure!(ended > 0, "fork or waitpid: {}", Error::last_os_error());
    check("how the child ended", (libc::WIFEXITED(status), libc::WEXITSTATUS(status)), (true, CODE))
}

/// The argument that makes this program such a process.
pub const PARENT: &str = "parent";

pub fn parent(grown: bool) -> Result<()> {
    if grown {
        grow(TOUCHED)?;
        let all = Arc::new(Barrier::new(THREADS + 1));
        for _ in 0..THREADS {
            let all = all.clone();
            std::thread::spawn(move || {
                all.wait();
                loop {
                    std::thread::park();
                }
            });
        }
        all.wait();
    }
    println!("{READY}");
    for line in stdin().lines() {
        let children = line?.parse()?;
        let start = now();
        (0..children).try_for_each(|_| fork_server())?;
        println!("{}", per_child(start, children));
    }
    Ok(())
}

/// Two processes that differ in nothing else, in turns within each repetition: small, big, big, small, and so on.
fn small_and_big(children: u64) -> Result<Vec<Job<'static>>> {
    const NAMES: [&str; 2] =
        ["fork server, the same parent without these", "fork server, parent with 512 MiB touched and 8 threads"];
    const TURNS: [usize; 8] = [0, 1, 1, 0, 0, 1, 1, 0];
    if let Err(error) = enough_memory(TOUCHED) {
        return Ok(NAMES.iter().map(|name| Job::missing(name, &error)).collect());
    }
    let me = std::env::current_exe()?;
    let small = Program::start(Command::new(&me).arg(PARENT))?;
    let parents = [small, Program::start(Command::new(&me).args([PARENT, "--grown"]))?];
    let job = Job::new(in_us(NAMES), move || {
        let mut sums = [0.0; 2];
        for which in TURNS {
            let [figure] = parents[which].ask(&(children / 4).to_string())?;
            sums[which] += figure / 4.0;
        }
        Ok(sums.to_vec())
    });
    Ok(vec![job.ours()])
}

fn in_us<const N: usize>(names: [&str; N]) -> Vec<(String, &'static str)> {
    names.map(|name| (name.into(), "us")).to_vec()
}

fn snakes(children: u64, python: &Peer) -> Job<'_> {
    const NAMES: [&str; 3] = ["Python fork", "Python forkserver", "Python spawn"];
    python.job(NAMES, |program| {
        Job::new(in_us(NAMES), move || Ok(program.ask::<3>(&format!("start {children}"))?.to_vec()))
    })
}
