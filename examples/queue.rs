//! One process downloads, another saves what comes, and a third one hears that nothing comes any more.

use crossproc::{GetTimeoutError, Process, Queue, Result, TryPutError};
use std::time::Duration;

/// An item: anything with serde, of any length.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Picture {
    name: String,
    pixels: Vec<u8>,
}

fn download(queue: Queue<Picture>) -> Result<()> {
    for (name, size) in [("girl.jpg", 100), ("boy.jpg", 100_000), ("man.jpg", 1_000_000)] {
        println!("downloading {name}");
        queue.put(Picture { name: name.into(), pixels: vec![7; size] })?; // waits while there are five
    }
    Ok(())
}

/// Saves what comes, until nothing has come for a while.
fn save(queue: Queue<Picture>) -> Result<usize> {
    let mut saved = 0;
    loop {
        match queue.get_timeout(Duration::from_secs(1)) {
            Ok(picture) => {
                println!("saved {} of {} bytes", picture.name, picture.pixels.len());
                saved += 1;
            }
            Err(GetTimeoutError::Timeout) => return Ok(saved),
            Err(error) => return Err(error.into()),
        }
    }
}

fn main() -> Result<()> {
    let queue = Queue::bounded(5)?;
    let downloader = Process::spawn(download, (queue.clone(),))?;
    let saver = Process::spawn(save, (queue.clone(),))?;
    downloader.join()??;
    assert_eq!(saver.join()??, 3);
    queue.close();
    let late = Picture { name: "late.jpg".into(), pixels: vec![] };
    match queue.try_put(late) {
        Err(TryPutError::Closed(picture)) => println!("{} came too late", picture.name), // the item comes back
        other => panic!("{other:?}"),
    }
    Ok(())
}
