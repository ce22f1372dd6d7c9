//! One slot in shared memory, and something that says when there is an item. For one who waits for each answer: another
//! item before that would be lost.

use super::{Consumer, Ends, Producer};
use crate::process::Shared;
use anyhow::Result;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Says to the other side that it may go on. What comes before `post` is there after `wait`.
pub trait Post {
    fn post(&self) -> Result<()>;
    fn wait(&self) -> Result<()>;
}

pub struct Posted<P> {
    post: Arc<P>,
    item: Arc<Shared<AtomicU64>>,
}

pub fn posted<P: Post>(post: Result<P>) -> Result<Ends<Posted<P>, Posted<P>>> {
    let (post, item) = (Arc::new(post?), Arc::new(Shared::new(AtomicU64::new(0))?));
    let end = || Ok(Posted { post: post.clone(), item: item.clone() });
    Ends::of(1, end, end)
}

impl<P: Post> Producer for Posted<P> {
    fn put(&mut self, items: Range<u64>) -> Result<()> {
        for item in items {
            self.item.store(item, Relaxed);
            self.post.post()?;
        }
        Ok(())
    }
}

impl<P: Post> Consumer for Posted<P> {
    fn get(&mut self, mut each: impl FnMut(u64)) -> Result<()> {
        self.post.wait()?;
        each(self.item.load(Relaxed));
        Ok(())
    }
}
