//! Processes make, copy, send and drop handles, and are killed at any moment: no block ever belongs to two objects, and
//! none is lost.

use crate::util::{Child, Counts, Mark, PANICKED, alone, fork};
use crossproc::transfer::{recv, send};
use crossproc::{Array, Value};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

type Token = (u64, Value<[u64; 6]>, Array<u64>);

fn token(id: u64) -> Token {
    (id, Value::new([id; 6]).unwrap(), Array::from_slice(&[id; 20]).unwrap())
}

/// The token's memory is the token's.
fn check((id, value, array): &Token) {
    let seen = value.get();
    assert!(seen == [*id; 6], "token {id} has {seen:?}");
    let items = array.lock_or_repair(|_| ()).unwrap();
    assert!(items.iter().all(|item| item == id), "token {id} has {items:?}");
}

/// A process of the ring: it checks each handle that arrives, replaces it now and then, and sends it on.
fn station(from: &UnixStream, to: &UnixStream, number: u64, hops: Mark) {
    let mut kept = Vec::new();
    for n in 0_u64.. {
        // The kills come while all others run: a message is cut short only when its sender is killed in it.
        let mut token_here = recv::<Token>(from).unwrap();
        check(&token_here);
        if n % 3 == 0 {
            kept.push(token_here.clone());
            token_here = token(number << 32 | n);
        }
        if n % 5 == 0 {
            *token_here.1.lock().unwrap() = [token_here.0; 6];
        }
        if kept.len() > 20 {
            kept.iter().for_each(check);
            kept.drain(..kept.len() - n as usize % 10);
        }
        send(to, &token_here).unwrap();
        hops.hit();
    }
}

#[test]
fn a_ring_of_processes_that_are_killed_at_random() {
    alone(90, || {
        const STATIONS: usize = 3;
        let own: Vec<_> = (0..100).map(|n| token(n << 48 | 0xffff)).collect();
        let hops = Mark::new();
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        let mut most = 0;
        for round in 0..120 {
            let pairs: Vec<_> = (0..STATIONS).map(|_| UnixStream::pair().unwrap()).collect();
            let start = hops.get();
            // Before the ring turns, for a stream has one writer.
            for n in 0..6 {
                send(&pairs[0].0, &own[(round + n) % own.len()]).unwrap();
            }
            let mut children: Vec<Child> = (0..STATIONS)
                .map(|i| {
                    let (from, to) = (&pairs[i].1, &pairs[(i + 1) % STATIONS].0);
                    fork(move || station(from, to, (round * STATIONS + i) as u64 + 1, hops))
                })
                .collect();
            hops.reaches(start + 30);
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let lead = Duration::from_micros(seed >> 54); // up to a millisecond
            let begun = Instant::now();
            while begun.elapsed() < lead {
                std::hint::spin_loop();
            }
            let first = (seed >> 20) as usize % STATIONS;
            for i in 0..STATIONS {
                let code = children[(first + i) % STATIONS].kill();
                assert_ne!(code, PANICKED, "a station saw foreign memory");
            }
            own.iter().for_each(check);
            if round == 60 {
                most = Counts::memfd_bytes();
            }
        }
        assert!(Counts::memfd_bytes() <= 2 * most, "{} KiB, {} before", Counts::memfd_bytes() >> 10, most >> 10);
    });
}
