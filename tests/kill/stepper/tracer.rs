//! The ptrace calls, and what to say when they are refused.

use std::io;

use super::victim::Victim;

/// What to do when the kernel does not let us trace our own children.
pub(super) const REMEDY: &str = "\
this suite needs ptrace on its own children, and the kernel refuses it. Remedies:
  * set kernel.yama.ptrace_scope to 0 or 1 (sysctl kernel.yama.ptrace_scope=1);
  * in a container add the capability: --cap-add=SYS_PTRACE, and if a seccomp profile forbids
    ptrace, --security-opt seccomp=unconfined;
  * do not run it under another tracer (strace, a debugger) that follows children.";

/// The raw system call: a libc wrapper would differ in its types from libc to libc.
pub(super) fn ptrace(request: i64, pid: i32, addr: usize, data: usize) -> io::Result<()> {
    // SAFETY: the callers pass requests that either write no memory of ours or write one word, or the
    // registers, to `data`, which is then the address of a live local of that type.
    let result = unsafe { libc::syscall(libc::SYS_ptrace, request, i64::from(pid), addr, data) };
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// One word of the stopped tracee's memory, or `None` if nothing is mapped there.
pub(super) fn peek(pid: i32, address: u64) -> Option<u64> {
    let mut word = 0_u64;
    let data = &raw mut word as usize;
    ptrace(libc::PTRACE_PEEKDATA.into(), pid, address as usize, data).ok()?;
    Some(word)
}

/// Panics with the remedy if the kernel refuses to trace; call it once at the start.
pub fn require_ptrace() {
    let mut victim = Victim::start(|| (), |()| ());
    victim.step();
}
