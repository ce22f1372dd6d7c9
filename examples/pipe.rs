//! Two processes talk through a pipe until one says END; then large messages, read and written where they lie.

use crossproc::{Pipe, Process, Receiver, RecvError, Result};

fn talk(pipe: Pipe<String>) -> Result<()> {
    for message in ["hello", "hey", "hru?", "END"] {
        pipe.send(&message.to_string())?;
        println!("Sent the message: {message}");
    }
    Ok(())
} // the pipe's end goes with it, and the other side is told

/// Adds up the bytes of frames, without copying them.
fn sum(frames: Receiver<()>) -> Result<u64> {
    let mut sum = 0;
    loop {
        match frames.peek() {
            Ok(frame) => {
                sum += frame.iter().map(|byte| u64::from(*byte)).sum::<u64>();
                frame.consume()?; // from here on the sender can use its room again
            }
            Err(RecvError::Eof) => return Ok(sum),
            Err(error) => return Err(error.into()),
        }
    }
}

fn main() -> Result<()> {
    let (ours, theirs) = Pipe::<String>::pair()?;
    let child = Process::spawn(talk, (theirs,))?;
    for message in &ours {
        match message?.as_str() {
            "END" => break,
            text => println!("Received the message: {text}"),
        }
    }
    child.join()??;
    assert_eq!(ours.recv(), Err(RecvError::Eof), "no process has the other end any more");

    let (sender, receiver) = Pipe::one_way_with_capacity(8 << 20)?;
    let child = Process::spawn(sum, (receiver,))?;
    for i in 0..10 {
        let mut slot = sender.reserve(1 << 20)?; // a million bytes of the pipe itself
        slot.fill(i);
        slot.send()?;
    }
    sender.close();
    let sum = child.join()??;
    println!("the frames add up to {sum}");
    assert_eq!(sum, 45 << 20);
    Ok(())
}
