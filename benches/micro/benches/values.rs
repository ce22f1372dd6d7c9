//! One process, one thread: what an operation costs when nobody is in the way.

use criterion::{Criterion, criterion_group, criterion_main};
use crossproc::{Array, Atomic, Lock, Value};
use std::hint::black_box;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

fn locks(c: &mut Criterion) {
    let mut group = c.benchmark_group("lock, add one, unlock");
    let (mutex, parking) = (std::sync::Mutex::new(0_u64), parking_lot::Mutex::new(0_u64));
    let (value, array) = (Value::new(0_u64).unwrap(), Array::<u64>::zeroed(8).unwrap());
    let lock = Lock::new().unwrap();
    group.bench_function("std::sync::Mutex", |b| b.iter(|| *mutex.lock().unwrap() += 1));
    group.bench_function("parking_lot::Mutex", |b| b.iter(|| *parking.lock() += 1));
    group.bench_function("Value", |b| b.iter(|| *value.lock().unwrap() += 1));
    group.bench_function("Value, update", |b| b.iter(|| value.update(|v| *v += 1).unwrap()));
    group.bench_function("Array", |b| b.iter(|| array.lock().unwrap()[3] += 1));
    group.bench_function("Lock alone", |b| b.iter(|| drop(black_box(lock.lock().unwrap()))));
    group.finish();
}

/// What is read is added up, word by word: a copy to memory that nobody reads would be another job.
fn get(c: &mut Criterion) {
    let mut group = c.benchmark_group("Value::get");
    let (small, line, page) =
        (Value::new(3_u64).unwrap(), Value::new([3_u64; 8]).unwrap(), Value::new([3_u64; 512]).unwrap());
    group.bench_function("8 bytes", |b| b.iter(|| small.get()));
    group.bench_function("64 bytes", |b| b.iter(|| line.get().iter().sum::<u64>()));
    group.bench_function("4096 bytes", |b| b.iter(|| page.get().iter().sum::<u64>()));
    let _held = small.lock().unwrap();
    group.bench_function("8 bytes, lock held", |b| b.iter(|| small.get()));
    group.finish();
}

fn set(c: &mut Criterion) {
    let mut group = c.benchmark_group("set");
    let (small, line, page) =
        (Value::new(0_u64).unwrap(), Value::new([0_u64; 8]).unwrap(), Value::new([0_u64; 512]).unwrap());
    let atomic = Atomic::<u64>::new(0).unwrap();
    let array = Array::<u64>::zeroed(8).unwrap();
    group.bench_function("Value, 8 bytes", |b| b.iter(|| small.set(black_box(7)).unwrap()));
    group.bench_function("Value, 64 bytes", |b| b.iter(|| line.set([black_box(7); 8]).unwrap()));
    group.bench_function("Value, 4096 bytes", |b| b.iter(|| page.set([black_box(7); 512]).unwrap()));
    group.bench_function("Atomic::fetch_add", |b| b.iter(|| atomic.fetch_add(1, Relaxed)));
    group.bench_function("Array::set", |b| b.iter(|| array.set(black_box(3), 7).unwrap()));
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(50)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
        .without_plots();
    targets = locks, get, set
}
criterion_main!(benches);
