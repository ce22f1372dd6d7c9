//! Results of pools as futures, awaited in the tasks of an asynchronous runtime.

use crate::util::{until_killed, within};
use crossproc::{Pool, TaskError};
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).build().unwrap()
}

fn square(n: u64) -> u64 {
    n * n
}

fn cube(n: u64) -> u64 {
    n * n * n
}

#[test]
fn results_are_awaited_in_tasks_of_a_runtime() {
    within(60, || {
        let pool = Arc::new(Pool::new(2).unwrap());
        runtime().block_on(async {
            let tasks: Vec<_> = (0..200)
                .map(|n| {
                    let pool = pool.clone();
                    tokio::spawn(async move {
                        let square = pool.apply_async(square, (n,)).await?;
                        pool.map_async(|n: u64| n + 1, square..square + 3).await
                    })
                })
                .collect();
            for (n, task) in (0..).zip(tasks) {
                assert_eq!(task.await.unwrap(), Ok((n * n + 1..n * n + 4).collect::<Vec<_>>()));
            }
            // A result that no worker will ever produce can be awaited too: the end of the pool cancels it.
            let stuck: Vec<_> =
                (0..10).map(|_| tokio::spawn(pool.apply_async(|| -> u8 { until_killed() }, ()))).collect();
            tokio::task::yield_now().await;
            pool.terminate();
            for task in stuck {
                assert_eq!(task.await.unwrap(), Err(TaskError::Cancelled));
            }
            assert_eq!(pool.apply_async(|| 1, ()).await, Err(TaskError::PoolClosed));
        });
    });
}

#[test]
fn results_are_awaited_one_after_another() {
    within(60, || {
        let pool = Pool::new(2).unwrap();
        let runtime = runtime();
        let sum = runtime.block_on(async {
            let results: Vec<_> = (0..50).map(|n| pool.apply_async(cube, (n,))).collect();
            let mut sum = 0;
            for result in results {
                sum += result.await.unwrap();
            }
            sum + pool.map_async(cube, 0..10).await.unwrap().iter().sum::<u64>()
        });
        assert_eq!(sum, (0..50).chain(0..10).map(cube).sum());
        let panicked = runtime.block_on(pool.apply_async(|| -> u8 { panic!("no") }, ())).unwrap_err();
        assert_eq!(panicked.to_string(), "panicked: no");
    });
}
