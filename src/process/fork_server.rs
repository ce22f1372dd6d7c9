//! The fork server: this program, executed again, with one thread and no state of the program. Children are forked from
//! it.
//!
//! It has one owner, the process that started it, and serves no other. It takes no lock in shared memory, holds none of
//! the owner's streams, and closes everything but its link.
//!
//! # Protocol
//! 1. It sends a greeting, then replies to each fork request with {pid, errno} and the child's pidfd. Children are
//!    children of the owner (`spawn`).
//! 2. It watches the end of each child and of its owner, and sweeps names that no process holds any more. A pidfd
//!    becomes readable after the process has closed its files; the link reports its end before that.
//! 3. It ends when its owner and all watched children have ended.
//!
//! # If a process dies here
//! The server: its owner notices at the next spawn, and starts another one, which watches the same children. Children
//! do not notice. The owner: the server serves nothing more and stays for the names of its children.

use super::child_main;
use super::protocol::{FORK_REQUEST, ForkReply, WATCH, greeting};
use crate::segment;
use crate::sys::exit;
use crate::sys::image::Start;
use crate::sys::pidfd::PidFd;
use crate::sys::poll::Poll;
use crate::sys::socket::Link;
use crate::sys::{Deadline, Fd, process_id, spawn};
use std::io;
use std::time::Duration;

/// The numbers of link and owner in the poll set. Children have higher ones.
const LINK: u64 = 0;
const OWNER: u64 = 1;
/// A child that lives shorter than this is never watched: its end would wake the server just when the owner wakes too.
const UNWATCHED: Duration = Duration::from_millis(5);
const MOST_UNWATCHED: usize = 64;
/// Deaths within this time share one sweep.
const SWEEP_DELAY: Duration = Duration::from_millis(20);
/// An owner that is alive this long after the end of its link has executed another program.
const OWNER_TIMEOUT: Duration = Duration::from_millis(500);

pub(super) struct ForkServer {
    link: Option<Link>,
    poll: Poll,
    /// Not a map of std's, whose seed all children would share.
    children: Vec<(u64, PidFd)>,
    next: u64,
    /// Children that are not watched yet, and when that starts.
    unwatched: Vec<PidFd>,
    watch_at: Option<Deadline>,
    /// Until its end was seen, or it has executed another program.
    owner: Option<PidFd>,
    /// When names are swept, and when the owner is released.
    sweep: Option<Deadline>,
    owner_timeout: Option<Deadline>,
}

pub(super) fn run(link: Link, start: &Start) -> ! {
    let served = ForkServer::new(link).and_then(|mut server| server.serve(start));
    exit::exit_at_once(i32::from(served.is_err()))
}

impl ForkServer {
    pub(super) fn new(link: Link) -> io::Result<Self> {
        spawn::init_server(&link)?;
        link.send(&greeting(), &[] as &[Fd])?;
        let _ = process_id::boot_id(); // which every child needs that attaches memory
        let poll = Poll::new()?;
        poll.add(&link, LINK)?;
        let owner = spawn::parent_of(&link).filter(|owner| poll.add(owner, OWNER).is_ok());
        let (children, unwatched) = (Vec::new(), Vec::new());
        let link = Some(link);
        Ok(ForkServer {
            link,
            poll,
            children,
            next: OWNER + 1,
            unwatched,
            watch_at: None,
            owner,
            sweep: None,
            owner_timeout: None,
        })
    }

    fn serve(&mut self, start: &Start) -> io::Result<()> {
        while self.link.is_some() || self.owner.is_some() || !self.children.is_empty() || !self.unwatched.is_empty() {
            let deadlines = [self.watch_at, self.sweep, self.owner_timeout];
            let events = self.poll.wait(deadlines.into_iter().flatten().min());
            for number in events {
                match number {
                    LINK => self.receive(start)?,
                    OWNER => self.release_owner(),
                    child => self.remove_ended(child),
                }
            }
            if self.watch_at.is_some_and(Deadline::has_passed) {
                self.watch_unwatched();
            }
            if self.owner_timeout.is_some_and(Deadline::has_passed) {
                self.release_owner();
            }
            if self.sweep.is_some_and(Deadline::has_passed) {
                self.sweep = None;
                segment::sweep_names_now_and_then();
            }
        }
        segment::sweep_names();
        Ok(())
    }

    fn release_owner(&mut self) {
        self.owner_timeout = None;
        if let Some(owner) = self.owner.take() {
            self.poll.remove(&owner);
        }
        let _ = self.orphaned();
    }

    /// Handles a packet of the owner, or the end of the link.
    pub(super) fn receive(&mut self, start: &Start) -> io::Result<()> {
        let Some(link) = &self.link else { return Ok(()) };
        let mut packet = [0; 16];
        let handled = match link.recv(&mut packet) {
            Ok(Some((packet, mut fds))) if *packet == FORK_REQUEST => match (fds.pop(), spawn::clone_sibling()) {
                (Some(control), Ok(None)) => child_main::run_child(control, start),
                (_, Ok(Some((pid, pidfd)))) => {
                    let sent = link.send(bytemuck::bytes_of(&ForkReply { pid, errno: 0 }), &[&pidfd]);
                    self.watch(PidFd::of(pidfd));
                    sent
                }
                (None, Ok(None)) => exit::exit_at_once(1),
                (_, Err(error)) => send_error(link, &error),
            },
            Ok(Some((packet, fds))) => {
                if *packet == WATCH {
                    fds.into_iter().for_each(|fd| self.watch(PidFd::of(fd)));
                }
                Ok(())
            }
            Ok(None) => return self.orphaned(),
            // Out of descriptors: those of the packet are lost.
            Err(error) => send_error(link, &error),
        };
        if handled.is_err() { self.orphaned() } else { Ok(()) }
    }

    /// The owner ends, or executes another program.
    fn orphaned(&mut self) -> io::Result<()> {
        if let Some(link) = self.link.take() {
            self.poll.remove(&link);
            self.owner_timeout = self.owner.is_some().then(|| Deadline::after(OWNER_TIMEOUT));
        }
        self.sweep_soon();
        Ok(())
    }

    fn watch(&mut self, child: PidFd) {
        self.unwatched.push(child);
        self.watch_at.get_or_insert_with(|| Deadline::after(UNWATCHED));
        if self.unwatched.len() >= MOST_UNWATCHED {
            self.watch_unwatched();
        }
    }

    fn watch_unwatched(&mut self) {
        self.watch_at = None;
        for child in std::mem::take(&mut self.unwatched) {
            let number = self.next;
            self.next += 1;
            if child.wait(Some(Deadline::now())) {
                self.sweep_soon();
            } else if self.poll.add(&child, number).is_ok() {
                self.children.push((number, child));
            }
        }
    }

    /// A child has ended.
    fn remove_ended(&mut self, number: u64) {
        if let Some(at) = self.children.iter().position(|(child, _)| *child == number) {
            let (_, child) = self.children.swap_remove(at);
            self.poll.remove(&child);
            self.sweep_soon();
        }
    }

    fn sweep_soon(&mut self) {
        self.sweep.get_or_insert_with(|| Deadline::after(SWEEP_DELAY));
    }
}

fn send_error(link: &Link, error: &io::Error) -> io::Result<()> {
    let answer = ForkReply { pid: 0, errno: crate::Os::from(io::Error::from(error.kind())).0 };
    let answer = ForkReply { errno: error.raw_os_error().unwrap_or(answer.errno), ..answer };
    link.send(bytemuck::bytes_of(&answer), &[] as &[Fd])
}
