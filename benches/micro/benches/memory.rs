//! What making and dropping shared objects costs, once the process has an arena for them.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use crossproc::{Array, Value};
use std::time::Duration;

fn create(c: &mut Criterion) {
    let mut group = c.benchmark_group("create and drop");
    group.bench_function("Value<u64>", |b| b.iter(|| Value::new(1_u64).unwrap()));
    group.bench_function("clone of a Value", |b| {
        let value = Value::new(1_u64).unwrap();
        b.iter(|| value.clone());
    });
    group.bench_function("Array<u64> of 100", |b| b.iter(|| Array::<u64>::zeroed(100).unwrap()));
    group.sample_size(10);
    let many = || (0..10_000_u64).map(|i| Value::new(i).unwrap()).collect::<Vec<_>>();
    group.bench_function("10,000 Values, created", |b| b.iter_batched(|| (), |()| many(), BatchSize::PerIteration));
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
        .without_plots();
    targets = create
}
criterion_main!(benches);
