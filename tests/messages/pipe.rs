//! `Pipe`, its halves, and `channel`: whole messages in order, and an end that is reported when the peer is killed.

use crate::util::{Random, by_itself, until, within};
use crossproc::{
    Array, Pipe, Process, Receiver, RecvError, RecvIntoError, RecvTimeoutError, SegmentError, SendError,
    SendTimeoutError, Sender, TryRecvError, TrySendError, Value, channel,
};
use std::time::{Duration, Instant};

#[test]
fn both_directions() {
    fn double(pipe: Pipe<(String, u64), u64>) {
        while let Ok(n) = pipe.recv() {
            pipe.send(&(n.to_string(), 2 * n)).unwrap();
        }
    }
    within(60, || {
        let (ours, theirs) = Pipe::<u64, (String, u64)>::pair().unwrap();
        let child = Process::spawn(double, (theirs,)).unwrap();
        for n in 0..1000 {
            ours.send(&n).unwrap();
            assert_eq!(ours.recv().unwrap(), (n.to_string(), 2 * n));
        }
        ours.close();
        child.join().unwrap();
    });
}

#[test]
fn boundaries_are_kept() {
    fn send(sender: Sender<()>) {
        for length in [0, 1, 48, 49, 0, 4095, 70_000, 300_000, 0, 2_000_000] {
            sender.send_bytes(&vec![length as u8; length]).unwrap();
        }
        sender.send_slice(&[1.5_f32, 2.5]).unwrap();
    }
    within(60, || {
        let (sender, receiver) = Pipe::one_way().unwrap();
        let child = Process::spawn(send, (sender,)).unwrap();
        for length in [0, 1, 48, 49, 0, 4095, 70_000, 300_000, 0, 2_000_000] {
            assert!(receiver.recv_bytes().unwrap() == vec![length as u8; length], "{length} bytes");
        }
        assert_eq!(receiver.recv_vec::<f32>().unwrap(), [1.5, 2.5]);
        assert_eq!(receiver.recv_bytes(), Err(RecvError::Eof));
        child.join().unwrap();
    });
}

#[test]
fn a_buffer_that_is_too_short_loses_nothing() {
    within(60, || {
        let (sender, receiver) = Pipe::<()>::one_way().unwrap();
        for length in [10, 100, 500_000] {
            sender.send_bytes(&vec![7; length]).unwrap();
            let mut buffer = vec![0; length];
            let refused = receiver.recv_bytes_into(&mut buffer[..length - 1]);
            assert_eq!(refused, Err(RecvIntoError::TooShort { needed: length }));
            assert_eq!(receiver.recv_bytes_into(&mut buffer), Ok(length));
            assert!(buffer.iter().all(|byte| *byte == 7));
        }
        drop(sender);
        assert_eq!(receiver.recv_bytes_into(&mut []), Err(RecvIntoError::Recv(RecvError::Eof)));
    });
}

#[test]
fn what_was_sent_comes_before_the_end() {
    fn send(sender: Sender<u32>) {
        (0..100).for_each(|i| sender.send(&i).unwrap());
        std::process::abort();
    }
    within(60, || {
        let (sender, receiver) = Pipe::one_way().unwrap();
        let child = Process::spawn(send, (sender,)).unwrap();
        let got: Vec<u32> = receiver.iter().map(Result::unwrap).collect();
        assert_eq!(got, Vec::from_iter(0..100));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Recv(RecvError::Eof)));
        assert_eq!(receiver.poll(Duration::ZERO), Ok(true), "the end is something");
        assert_eq!(child.wait(), -6);
    });
}

#[test]
fn a_sleeper_is_woken_at_once_by_a_kill() {
    fn hold(_sender: Sender<u32>, ready: Value<u32>) {
        *ready.lock().unwrap() += 1;
        std::thread::sleep(Duration::from_secs(1000));
    }
    within(60, || {
        let ((sender, receiver), ready) = (Pipe::one_way().unwrap(), Value::new(0).unwrap());
        let child = Process::spawn(hold, (sender, ready.clone())).unwrap();
        until("it is ready", || ready.get() == 1);
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            child.kill().unwrap();
            (Instant::now(), child)
        });
        assert_eq!(receiver.recv(), Err(RecvError::Eof));
        let (killed, child) = killer.join().unwrap();
        assert!(killed.elapsed() < Duration::from_secs(1), "{:?}", killed.elapsed());
        child.wait();
    });
}

#[test]
fn a_sender_is_refused_when_nobody_is_left() {
    fn hold(_receiver: Receiver<Vec<u8>>, ready: Value<u32>) {
        *ready.lock().unwrap() += 1;
        std::thread::sleep(Duration::from_secs(1000));
    }
    within(60, || {
        let ready = Value::new(0).unwrap();
        for full in [false, true] {
            let (sender, receiver) = Pipe::one_way_with_capacity(4096).unwrap();
            let child = Process::spawn(hold, (receiver, ready.clone())).unwrap();
            until("it is ready", || ready.get() == 1 + u32::from(full));
            sender.send(&vec![1]).unwrap();
            if full {
                let killer = std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(200));
                    child.kill().unwrap();
                    child.wait();
                });
                let refused = (0..).find_map(|_| sender.send(&vec![1; 1000]).err());
                assert_eq!(refused, Some(SendError::BrokenPipe));
                killer.join().unwrap();
            } else {
                child.kill().unwrap();
                child.wait();
                assert_eq!(sender.send(&vec![1]), Err(SendError::BrokenPipe));
                assert_eq!(sender.send_bytes(&[]), Err(SendError::BrokenPipe));
                assert!(matches!(sender.reserve(100), Err(SendError::BrokenPipe)));
            }
        }
    });
}

#[test]
fn full_and_empty() {
    within(60, || {
        let (sender, receiver) = Pipe::<()>::one_way_with_capacity(65_536).unwrap();
        let mut sent = 0;
        let start = Instant::now();
        while sender.send_timeout(&(), Duration::from_millis(50)).is_ok() {
            sent += 1;
        }
        assert!(sent >= 64 && start.elapsed() >= Duration::from_millis(50), "{sent}");
        assert_eq!(sender.try_send(&()), Err(TrySendError::Full));
        assert_eq!(sender.send_timeout(&(), Duration::ZERO), Err(SendTimeoutError::Timeout));
        (0..sent).for_each(|_| receiver.recv().unwrap());
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(receiver.recv_timeout(Duration::from_millis(20)), Err(RecvTimeoutError::Timeout));
        assert_eq!(receiver.poll(Duration::from_millis(20)), Ok(false));

        let (sender, receiver) = channel(2).unwrap();
        sender.send(&vec![0_u8; 1_000_000]).unwrap();
        sender.send(&vec![1; 1_000_000]).unwrap();
        assert_eq!(sender.try_send(&vec![]), Err(TrySendError::Full));
        assert_eq!((receiver.recv().unwrap()[0], receiver.recv().unwrap()[0]), (0, 1));
        assert!(matches!(channel::<u8>(0), Err(SegmentError::Invalid(_))));
    });
}

#[test]
fn a_pipe_waits_for_bytes_and_not_for_items() {
    fn count(receiver: Receiver<()>, wanted: Vec<usize>) {
        for length in wanted {
            assert_eq!(receiver.recv_bytes().unwrap(), vec![length as u8; length]);
        }
    }
    within(120, || {
        let mut random = Random(5);
        let lengths: Vec<usize> = (0..20_000).map(|_| (random.next() % 3000) as usize).collect();
        let (sender, receiver) = Pipe::<()>::one_way_with_capacity(4096).unwrap();
        let child = Process::spawn(count, (receiver, lengths.clone())).unwrap();
        for length in lengths {
            sender.send_bytes(&vec![length as u8; length]).unwrap();
        }
        child.join().unwrap();
    });
}

#[test]
fn in_place() {
    within(60, || {
        let (sender, receiver) = Pipe::<()>::one_way().unwrap();
        for length in [0, 5, 48, 49, 5000, 200_000, 1 << 20] {
            let mut slot = sender.reserve(length).unwrap();
            assert_eq!(slot.len(), length);
            slot.fill(length as u8);
            slot.send().unwrap();
            for last in [false, true] {
                let frame = receiver.peek().unwrap();
                assert!(frame.len() == length && frame.iter().all(|byte| *byte == length as u8));
                assert!(frame.as_ptr().cast::<u64>().is_aligned());
                if last { frame.consume().unwrap() } else { drop(frame) }
            }
            drop(sender.reserve(length).unwrap());
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty), "a slot that was dropped sends nothing");
        }
    });
}

#[test]
fn a_thread_that_is_in_its_own_way() {
    within(60, || {
        let (sender, receiver) = Pipe::<u8>::one_way().unwrap();
        let slot = sender.reserve(100).unwrap();
        assert_eq!(sender.send(&1), Err(SendError::Deadlock));
        assert!(matches!(sender.reserve(1), Err(SendError::Deadlock)));
        slot.send().unwrap();
        let value = Value::new(0).unwrap();
        let frame = receiver.peek().unwrap();
        assert_eq!(receiver.recv(), Err(RecvError::Deadlock));
        *value.lock().unwrap() += 1; // other locks are free to take
        sender.send(&5).unwrap();
        frame.consume().unwrap();
        assert_eq!((receiver.recv(), value.get()), (Ok(5), 1));
    });
}

#[test]
fn a_process_killed_while_it_reads_or_writes_in_place() {
    fn write(sender: Sender<String>, ready: Value<u32>) {
        let mut slot = sender.reserve(1000).unwrap();
        slot.fill(9);
        *ready.lock().unwrap() += 1;
        std::thread::sleep(Duration::from_secs(1000));
    }
    fn read(receiver: Receiver<String>, ready: Value<u32>) {
        let _frame = receiver.peek().unwrap();
        *ready.lock().unwrap() += 1;
        std::thread::sleep(Duration::from_secs(1000));
    }
    within(60, || {
        let ((sender, receiver), ready) = (Pipe::one_way().unwrap(), Value::new(0).unwrap());
        let writer = Process::spawn(write, (sender.clone(), ready.clone())).unwrap();
        until("it writes", || ready.get() == 1);
        assert_eq!(sender.try_send(&"a".into()), Err(TrySendError::Full));
        let waiting = std::thread::spawn({
            let sender = sender.clone();
            move || sender.send(&"b".into())
        });
        writer.kill().unwrap();
        waiting.join().unwrap().unwrap();
        writer.wait();
        let reader = Process::spawn(read, (receiver.clone(), ready.clone())).unwrap();
        until("it reads", || ready.get() == 2);
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        reader.kill().unwrap();
        assert_eq!(receiver.recv().unwrap(), "b");
        reader.wait();
    });
}

#[test]
fn ends_travel_with_their_roles() {
    type Ask = (Receiver<u32>, Sender<u64>, Pipe<String>);
    fn serve(asks: Receiver<Ask>) {
        for ask in &asks {
            let (numbers, sum, greet) = ask.unwrap();
            sum.send(&numbers.iter().map(|n| u64::from(n.unwrap())).sum()).unwrap();
            greet.send(&greet.recv().unwrap().to_uppercase()).unwrap();
        }
    }
    within(60, || {
        let (asks, server) = channel(10).unwrap();
        let child = Process::spawn(serve, (server,)).unwrap();
        for round in 0..20 {
            let (numbers, theirs) = Pipe::one_way().unwrap();
            let (their_sum, sum) = Pipe::one_way().unwrap();
            let (greet, their_greet) = Pipe::pair().unwrap();
            asks.send(&(theirs, their_sum, their_greet)).unwrap();
            (0..100).for_each(|i| numbers.send(&(i * round)).unwrap());
            drop(numbers);
            greet.send(&"hello".to_string()).unwrap();
            assert_eq!(sum.recv().unwrap(), u64::from(4950 * round));
            assert_eq!(greet.recv().unwrap(), "HELLO");
            assert_eq!(greet.recv(), Err(RecvError::Eof));
        }
        drop(asks);
        child.join().unwrap();
    });
}

#[test]
fn a_receiver_is_no_sender() {
    within(60, || {
        let (here, there) = std::os::unix::net::UnixStream::pair().unwrap();
        let (sender, receiver) = Pipe::<u32>::one_way().unwrap();
        crossproc::transfer::send(&here, &receiver).unwrap();
        assert!(crossproc::transfer::recv::<Sender<u32>>(&there).is_err());
        crossproc::transfer::send(&here, &receiver).unwrap();
        let same: Receiver<u32> = crossproc::transfer::recv(&there).unwrap();
        drop(receiver);
        sender.send(&1).unwrap();
        assert_eq!(same.recv(), Ok(1));
        drop(same);
        assert_eq!(sender.send(&1), Err(SendError::BrokenPipe));
    });
}

#[test]
fn messages_that_nobody_reads_let_their_handles_go() {
    within(60, || {
        let (sender, receiver) = channel::<(Receiver<u8>, Array<u64>)>(100).unwrap();
        let (one, other) = Pipe::one_way().unwrap();
        sender.send(&(other, Array::zeroed(10_000).unwrap())).unwrap();
        one.send(&1).unwrap();
        drop(receiver);
        assert_eq!(one.send(&1), Err(SendError::BrokenPipe), "its receiver was in there");
        assert!(matches!(
            sender.send(&(Pipe::one_way().unwrap().1, Array::zeroed(1).unwrap())),
            Err(SendError::BrokenPipe)
        ));
    });
}

#[test]
fn many_senders_and_receivers() {
    fn send(sender: Sender<(u32, u32)>, me: u32) {
        (0..5_000).for_each(|i| sender.send(&(me, i)).unwrap());
    }
    fn recv(receiver: Receiver<(u32, u32)>) -> Vec<(u32, u32)> {
        receiver.iter().map(Result::unwrap).collect()
    }
    within(120, || {
        for (sender, receiver) in [Pipe::one_way().unwrap(), channel(10).unwrap()] {
            let senders: Vec<_> = (0..4).map(|i| Process::spawn(send, (sender.clone(), i)).unwrap()).collect();
            let receivers: Vec<_> = (0..3).map(|_| Process::spawn(recv, (receiver.clone(),)).unwrap()).collect();
            drop((sender, receiver));
            senders.into_iter().for_each(|sender| sender.join().unwrap());
            let mut all: Vec<_> = receivers.into_iter().flat_map(|receiver| receiver.join().unwrap()).collect();
            all.sort_unstable();
            assert!(all == (0..4).flat_map(|me| (0..5_000).map(move |i| (me, i))).collect::<Vec<_>>());
        }
    });
}

/// An argument that never comes to its end in the child.
#[derive(serde::Serialize)]
struct Stuck;

impl<'de> serde::Deserialize<'de> for Stuck {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        loop {
            std::thread::sleep(Duration::from_secs(1000));
        }
    }
}

#[test]
fn a_child_that_is_killed_before_it_took_its_end() {
    within(120, || {
        // The message stays before the end. (Once the child has taken its end, the end may count for good: see `Pipe`.)
        for delay in (0..40).map(|i| Duration::from_micros(i % 8 * 50)) {
            let (sender, receiver) = Pipe::<u8>::one_way().unwrap();
            let waiting = std::thread::spawn(move || receiver.recv());
            let child = Process::spawn(|_: Stuck, _: Sender<u8>| (), (Stuck, sender)).unwrap();
            std::thread::sleep(delay);
            child.kill().unwrap();
            assert_eq!(waiting.join().unwrap(), Err(RecvError::Eof), "{delay:?}");
            child.wait();
        }
    });
}

#[test]
fn a_fork_child_has_no_slot_of_its_parents() {
    by_itself(60, || {
        let (sender, receiver) = Pipe::<()>::one_way().unwrap();
        let mut slot = sender.reserve(1000).unwrap();
        slot.fill(2);
        // SAFETY: the child does nothing that needs other threads.
        let child = unsafe { crossproc::fork(move || slot.send().is_err()) }.unwrap();
        assert_eq!(child.join(), Ok(true), "it is the parent's");
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    });
}

#[test]
fn a_slot_that_nobody_can_receive_is_an_error() {
    within(60, || {
        let (sender, receiver) = Pipe::<()>::one_way().unwrap();
        let slot = sender.reserve(1000).unwrap();
        drop(receiver);
        assert_eq!(slot.send(), Err(SendError::BrokenPipe));
    });
}
