//! A pool whose process or worker has no descriptors or no memory left: each task ends with a result or a typed error,
//! and the others are not delayed for long.

use crate::util::{DESCRIPTORS, MEMORY, in_a_program, role, set_resource_limit, within};
use crossproc::{Array, Pool, TaskError};
use std::fs::File;
use std::time::{Duration, Instant};

/// Before that nothing is given up.
const PATIENCE: Duration = Duration::from_secs(1);

/// All that this process may have, from here on.
fn use_up_descriptors() -> Vec<File> {
    set_resource_limit(DESCRIPTORS, 64);
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

/// In memory of its own, for which each process needs a descriptor once.
fn array() -> Array<u8> {
    Array::from_slice(&[1; 100_000]).unwrap()
}

fn first(array: &Array<u8>) -> u8 {
    array.get(0).unwrap()
}

#[test]
fn results_that_need_descriptors() {
    in_a_program(60, results_that_need_descriptors_role);
}

#[test]
fn results_that_need_descriptors_role() {
    let Some(_) = role() else { return };
    let pool = Pool::new(2).unwrap();
    assert_eq!(pool.map(|n| n, 0..10), Ok((0..10).collect()));
    let mut held = use_up_descriptors();
    let start = Instant::now();
    let mut result = pool.apply_async(array, ());
    let early = result.get_timeout(Duration::from_millis(50)).map(|_| ());
    assert!(early == Err(TaskError::Timeout) || start.elapsed() >= PATIENCE, "a time is kept: {early:?}");
    held.clear();
    let given_up = start.elapsed() >= PATIENCE;
    match result.get() {
        Ok(array) => assert_eq!(first(&array), 1),
        Err(error) => assert!(given_up, "{error}"),
    }
    held = use_up_descriptors();
    let others: Vec<_> = (0..10).map(|n| pool.apply_async(|n: u32| n + 1, (n,))).collect();
    let lost = pool.map(|_: u8| array(), 0..3);
    assert!(matches!(&lost, Err(TaskError::Decode(error)) if error.to_string().contains("descriptor")), "{lost:?}");
    let others: Vec<_> = others.into_iter().map(|other| other.get().unwrap()).collect();
    assert_eq!(others, (1..=10).collect::<Vec<_>>());
    drop(held);
    assert_eq!(first(&pool.apply(array, ()).unwrap()), 1);
    pool.close();
    pool.join().unwrap();
}

#[test]
fn a_shared_value_that_needs_descriptors() {
    in_a_program(60, a_shared_value_that_needs_descriptors_role);
}

#[test]
fn a_shared_value_that_needs_descriptors_role() {
    let Some(_) = role() else { return };
    let (pool, shared) = (Pool::new(2).unwrap(), array());
    assert_eq!(pool.map(|n| n, 0..10), Ok((0..10).collect()));
    let ids = || pool.workers().iter().map(|worker| worker.id).collect::<Vec<_>>();
    let before = ids();
    let held = use_up_descriptors();
    let add = |array: &Array<u8>, n: u8| first(array) + n;
    let lost = pool.map_with(&shared, add, 0..4);
    assert!(matches!(&lost, Err(TaskError::Encode(error)) if error.to_string().contains("descriptor")), "{lost:?}");
    assert_eq!(pool.apply(|n: u32| n + 1, (1,)), Ok(2), "the others go on");
    drop(held);
    assert_eq!(pool.map_with(&shared, add, 0..4), Ok(vec![1, 2, 3, 4]));
    assert_eq!(ids(), before, "it cost no worker");
}

#[test]
fn a_result_that_needs_memory() {
    in_a_program(60, a_result_that_needs_memory_role);
}

#[test]
fn a_result_that_needs_memory_role() {
    let Some(_) = role() else { return };
    const LARGE: usize = 256 << 20;
    let pool = Pool::new(2).unwrap();
    let large = || "a".repeat(LARGE);
    assert_eq!(pool.apply(|n: u32| n + 1, (1,)), Ok(2));
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = pages.split(' ').next().unwrap().parse().unwrap();
    let before = set_resource_limit(MEMORY, pages * 4096 + LARGE as u64 / 2);
    assert_eq!(pool.apply(large, ()).map(|text| text.len()), Err(TaskError::NoSpace));
    assert_eq!(pool.apply(|n: u32| n + 1, (1,)), Ok(2), "the others go on");
    set_resource_limit(MEMORY, before);
    assert_eq!(pool.apply(large, ()).map(|text| text.len()), Ok(LARGE));
}

#[test]
fn a_worker_without_descriptors_gives_way() {
    within(60, || {
        let pool = Pool::new(1).unwrap();
        let before = pool.apply(std::process::id, ()).unwrap();
        pool.apply(|| std::mem::forget(use_up_descriptors()), ()).unwrap();
        assert_eq!(pool.apply(|n: u32| n + 1, (1,)), Ok(2), "for this it needs none");
        let own = array();
        let after = pool.apply(|array: Array<u8>| (first(&array), std::process::id()), (own,)).unwrap();
        assert!(after.0 == 1 && after.1 != before, "{after:?}");
    });
}

#[test]
fn workers_that_can_never_have_a_task_break_the_pool() {
    within(60, || {
        let few = || {
            let few = use_up_descriptors();
            std::mem::forget(few);
        };
        let pool = Pool::builder().processes(1).initializer(few, ()).build().unwrap();
        let own = array();
        let broken = pool.apply(|array: Array<u8>| first(&array), (own,));
        assert!(matches!(&broken, Err(TaskError::PoolBroken(why)) if why.contains("descriptor")), "{broken:?}");
    });
}

#[test]
fn a_copy_of_a_worker_ends_where_its_task_does() {
    within(60, || {
        let pool = Pool::new(1).unwrap();
        // SAFETY: no pointers but one to a place of its own.
        let copy = |panics: bool| unsafe {
            match (libc::fork(), panics) {
                (0, true) => panic!("in the copy"),
                (0, false) => 0,
                (copy, _) => {
                    let mut status = 0;
                    assert_eq!(libc::waitpid(copy, &mut status, 0), copy);
                    status
                }
            }
        };
        assert_eq!((pool.apply(copy, (false,)), pool.apply(copy, (true,))), (Ok(0), Ok(101 << 8)));
        // SAFETY: no pointers.
        let instead = || unsafe { if libc::fork() == 0 { 77 } else { libc::_exit(4) } };
        let died = pool.apply(instead, ());
        assert!(matches!(died, Err(TaskError::WorkerDied { exit_code: 4, .. })), "{died:?}");
        assert_eq!(pool.apply(|n: u32| n + 1, (1,)), Ok(2));
    });
}
