//! What POSIX has between processes: `sem_t`, `pthread_cond_t`, `pthread_barrier_t`.

use crate::channels::Post;
use crate::process::Shared;
use anyhow::{Result, ensure};
use std::cell::UnsafeCell;
use std::io::Error;
use std::mem::MaybeUninit;

/// Memory for an object of the C library, which never moves.
#[repr(transparent)]
struct Cell<T>(UnsafeCell<MaybeUninit<T>>);

// SAFETY: objects that are made for that.
unsafe impl<T> Sync for Cell<T> {}

impl<T> Cell<T> {
    fn shared() -> Result<Shared<Self>> {
        Shared::new(Cell(UnsafeCell::new(MaybeUninit::uninit())))
    }

    fn get(&self) -> *mut T {
        self.0.get().cast()
    }
}

fn check(what: &str, answer: i32) -> Result<()> {
    ensure!(answer == 0, "{what}: {}", Error::from_raw_os_error(answer));
    Ok(())
}

pub struct PosixSemaphore(Shared<Cell<libc::sem_t>>);

impl PosixSemaphore {
    pub fn new(count: u32) -> Result<Self> {
        let semaphore = Cell::shared()?;
        // SAFETY: room for it; shared between processes.
        ensure!(unsafe { libc::sem_init(semaphore.get(), 1, count) } == 0, Error::last_os_error());
        Ok(PosixSemaphore(semaphore))
    }
}

impl Post for PosixSemaphore {
    fn post(&self) -> Result<()> {
        // SAFETY: initialised.
        ensure!(unsafe { libc::sem_post(self.0.get()) } == 0, Error::last_os_error());
        Ok(())
    }

    fn wait(&self) -> Result<()> {
        // SAFETY: initialised.
        while unsafe { libc::sem_wait(self.0.get()) } != 0 {
            let error = Error::last_os_error();
            ensure!(error.raw_os_error() == Some(libc::EINTR), error);
        }
        Ok(())
    }
}

struct Parts {
    mutex: Cell<libc::pthread_mutex_t>,
    condition: Cell<libc::pthread_cond_t>,
    number: UnsafeCell<u64>,
}

// SAFETY: the number is used under the mutex.
unsafe impl Sync for Parts {}

/// A number under a mutex, and the condition that it is not 0.
pub struct PosixCondition(Shared<Parts>);

impl PosixCondition {
    pub fn new() -> Result<Self> {
        let cell = || UnsafeCell::new(MaybeUninit::uninit());
        let empty =
            Parts { mutex: Cell(cell()), condition: Cell(UnsafeCell::new(MaybeUninit::uninit())), number: 0.into() };
        let parts = Shared::new(empty)?;
        let (mut of_mutex, mut of_condition) = (MaybeUninit::uninit(), MaybeUninit::uninit());
        // SAFETY: attributes are initialised before they are used; room for mutex and condition, which nobody uses yet.
        let answers = unsafe {
            [
                libc::pthread_mutexattr_init(of_mutex.as_mut_ptr()),
                libc::pthread_mutexattr_setpshared(of_mutex.as_mut_ptr(), libc::PTHREAD_PROCESS_SHARED),
                libc::pthread_mutex_init(parts.mutex.get(), of_mutex.as_ptr()),
                libc::pthread_condattr_init(of_condition.as_mut_ptr()),
                libc::pthread_condattr_setpshared(of_condition.as_mut_ptr(), libc::PTHREAD_PROCESS_SHARED),
                libc::pthread_cond_init(parts.condition.get(), of_condition.as_ptr()),
            ]
        };
        answers.into_iter().try_for_each(|answer| check("pthread_cond_init", answer))?;
        Ok(PosixCondition(parts))
    }
}

impl Post for PosixCondition {
    fn post(&self) -> Result<()> {
        let Parts { mutex, condition, number } = &*self.0;
        // SAFETY: initialised; the number is changed under the mutex.
        unsafe {
            check("lock", libc::pthread_mutex_lock(mutex.get()))?;
            *number.get() += 1;
            check("unlock", libc::pthread_mutex_unlock(mutex.get()))?;
            check("signal", libc::pthread_cond_signal(condition.get()))
        }
    }

    fn wait(&self) -> Result<()> {
        let Parts { mutex, condition, number } = &*self.0;
        // SAFETY: as above.
        unsafe {
            check("lock", libc::pthread_mutex_lock(mutex.get()))?;
            while number.get().read_volatile() == 0 {
                check("wait", libc::pthread_cond_wait(condition.get(), mutex.get()))?;
            }
            *number.get() -= 1;
            check("unlock", libc::pthread_mutex_unlock(mutex.get()))
        }
    }
}

pub struct PosixBarrier(Shared<Cell<libc::pthread_barrier_t>>);

impl PosixBarrier {
    pub fn new(parties: u32) -> Result<Self> {
        let barrier = Cell::shared()?;
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: as in `PosixCondition::new`.
        let answers = unsafe {
            [
                libc::pthread_barrierattr_init(attributes.as_mut_ptr()),
                libc::pthread_barrierattr_setpshared(attributes.as_mut_ptr(), libc::PTHREAD_PROCESS_SHARED),
                libc::pthread_barrier_init(barrier.get(), attributes.as_ptr(), parties),
            ]
        };
        answers.into_iter().try_for_each(|answer| check("pthread_barrier_init", answer))?;
        Ok(PosixBarrier(barrier))
    }
}

impl Post for PosixBarrier {
    fn post(&self) -> Result<()> {
        // SAFETY: initialised.
        let answer = unsafe { libc::pthread_barrier_wait(self.0.get()) };
        ensure!([0, libc::PTHREAD_BARRIER_SERIAL_THREAD].contains(&answer), "pthread_barrier_wait: {answer}");
        Ok(())
    }

    fn wait(&self) -> Result<()> {
        self.post()
    }
}
