//! One thread waits for many at once: results from queues, words from a pipe, a network, and the end of a process.

use crossproc::{Pipe, Process, Queue, Result, Waitable, wait};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

fn work(results: Queue<u64>, number: u64) -> Result<()> {
    results.put(number * number)?;
    Ok(())
}

fn greet(pipe: Pipe<String>) -> Result<()> {
    Ok(pipe.send(&"hello".to_string())?)
}

fn main() -> Result<()> {
    let queues = (0..3).map(|_| Queue::new()).collect::<std::result::Result<Vec<_>, _>>()?;
    let (pipe, theirs) = Pipe::pair()?;
    let network = TcpListener::bind("127.0.0.1:0")?;
    let mut workers = Vec::new();
    for (number, queue) in queues.iter().enumerate() {
        workers.push(Process::spawn(work, (queue.clone(), number as u64))?);
    }
    let greeter = Process::spawn(greet, (theirs,))?;
    let mut client = TcpStream::connect(network.local_addr()?)?;
    client.write_all(b"x")?;

    let mut seen = [false; 6];
    while seen != [true; 6] {
        let (pending, items): (Vec<usize>, Vec<&dyn Waitable>) = queues
            .iter()
            .map(|queue| queue as &dyn Waitable)
            .chain([&pipe as &dyn Waitable, &network, &greeter])
            .enumerate()
            .filter(|(number, _)| !seen[*number])
            .unzip();
        let ready = wait(&items, Some(Duration::from_secs(10)));
        assert!(!ready.is_empty(), "all of them come");
        for number in ready.into_iter().map(|at| pending[at]) {
            match number {
                0..3 => println!("queue {number} has {}", queues[number].get()?),
                3 => println!("the pipe says {}", pipe.recv()?),
                4 => println!("a connection from {}", network.accept()?.1.ip()),
                _ => println!("the greeter has ended with {:?}", greeter.exit_code()),
            }
            seen[number] = true;
        }
    }
    workers.into_iter().try_for_each(|worker| worker.join()?)
}
