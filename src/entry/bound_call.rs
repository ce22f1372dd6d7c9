//! A function with its arguments, which a handle carries along, to be called in another process.

use super::entry::{Code, captures_nothing};
use super::panic::catch;
use crate::sys::image;
use crate::{CodecError, Entry, Message, SpawnError};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::marker::PhantomData;
use std::sync::{Arc, Mutex};

/// What an action returns: nothing, or whether it failed.
///
/// ```
/// fn is_outcome<T: crossproc::Outcome>(_: &T) {}
/// is_outcome(&());
/// is_outcome(&Err::<(), String>("no".into()));
/// ```
pub trait Outcome: Message {
    #[doc(hidden)]
    fn into_result(self) -> Result<(), String>;
}

impl Outcome for () {
    fn into_result(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: Message + std::fmt::Display> Outcome for Result<(), E> {
    fn into_result(self) -> Result<(), String> {
        self.map_err(|error| error.to_string())
    }
}

#[derive(Clone)]
pub(crate) struct BoundCall {
    code: Code,
    bound: Arc<dyn Bound>,
}

/// An entry and its arguments, with their types erased.
trait Bound: Send + Sync {
    fn call(&self) -> Result<(), String>;
    fn encode_arguments(&self) -> Result<Vec<u8>, CodecError>;
}

struct Call<A, M, F> {
    entry: F,
    /// In a mutex, because they need not be `Sync`.
    arguments: Mutex<Option<A>>,
    /// What a call gets: a copy, or the original.
    take: fn(&mut Option<A>) -> Option<A>,
    marker: PhantomData<fn() -> M>,
}

impl<A, M, F> Call<A, M, F> {
    fn new(entry: F, arguments: A, take: fn(&mut Option<A>) -> Option<A>) -> Arc<Self> {
        Arc::new(Call { entry, arguments: Mutex::new(Some(arguments)), take, marker: PhantomData })
    }
}

impl<A: Message, M: 'static, F: Entry<A, M, Output: Outcome> + Sync> Bound for Call<A, M, F> {
    fn call(&self) -> Result<(), String> {
        let arguments = (self.take)(&mut crate::error::locked(&self.arguments));
        let Some(arguments) = arguments else { return Err("it was called already".into()) };
        let call = || self.entry.call(arguments).into_result();
        catch(call).unwrap_or_else(|panic| Err(panic.message))
    }

    fn encode_arguments(&self) -> Result<Vec<u8>, CodecError> {
        let arguments = crate::error::locked(&self.arguments);
        let arguments = arguments.as_ref().ok_or_else(|| CodecError::new("it was called already"))?;
        postcard::to_stdvec(arguments).map_err(CodecError::new)
    }
}

/// Makes the call from the address of an `fn` pointer, or 0, and the encoded arguments.
type Decode = fn(usize, &[u8]) -> Result<Arc<dyn Bound>, CodecError>;

fn decode<A: Message + Clone, M: 'static, F: Entry<A, M, Output: Outcome> + Sync>(
    pointer: usize,
    bytes: &[u8],
) -> Result<Arc<dyn Bound>, CodecError> {
    Ok(Call::new(Code::entry::<A, M, F>(pointer), arguments(bytes)?, |arguments| arguments.clone()))
}

fn decode_once<A: Message, M: 'static, F: Entry<A, M, Output: Outcome> + Sync>(
    pointer: usize,
    bytes: &[u8],
) -> Result<Arc<dyn Bound>, CodecError> {
    Ok(Call::new(Code::entry::<A, M, F>(pointer), arguments(bytes)?, Option::take))
}

fn arguments<A: Message>(bytes: &[u8]) -> Result<A, CodecError> {
    postcard::from_bytes(bytes).map_err(CodecError::new)
}

impl BoundCall {
    pub(crate) fn new<A, M, F>(entry: F, arguments: A) -> Result<Self, SpawnError>
    where
        A: Message + Clone,
        M: 'static,
        F: Entry<A, M, Output: Outcome> + Sync,
    {
        const { captures_nothing::<F>() };
        let decode: Decode = decode::<A, M, F>;
        let code = Code::with::<A, M, F>(entry, decode as *const () as usize)?;
        Ok(BoundCall { code, bound: Call::new(entry, arguments, |arguments| arguments.clone()) })
    }

    /// A call that can be made at most once, in the process to which it was sent.
    pub(crate) fn once<A, M, F>(entry: F, arguments: A) -> Result<Self, SpawnError>
    where
        A: Message,
        M: 'static,
        F: Entry<A, M, Output: Outcome> + Sync,
    {
        const { captures_nothing::<F>() };
        let decode: Decode = decode_once::<A, M, F>;
        let code = Code::with::<A, M, F>(entry, decode as *const () as usize)?;
        Ok(BoundCall { code, bound: Call::new(entry, arguments, Option::take) })
    }

    /// Calls it in this process. A panic is an error.
    pub(crate) fn call(&self) -> Result<(), String> {
        self.bound.call()
    }
}

#[derive(Serialize, Deserialize)]
struct Wire {
    build: u128,
    code: Code,
    arguments: Vec<u8>,
}

/// In a message; the handles among the arguments travel with it.
impl Serialize for BoundCall {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let arguments = self.bound.encode_arguments().map_err(S::Error::custom)?;
        Wire { build: image::build(), code: self.code, arguments }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for BoundCall {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        if wire.build != image::build() {
            return Err(D::Error::custom("an action of another program"));
        }
        let place = wire.code.place().ok_or_else(|| D::Error::custom("an action that is not in this program"))?;
        let bound = Code::decode_with(place, &wire.arguments).map_err(D::Error::custom)?;
        Ok(BoundCall { code: wire.code, bound })
    }
}

impl Code {
    /// # Invariants
    /// The builds were compared, so the address is that of a [`Decode`] of the same entry (entry-E1).
    fn decode_with((address, pointer): (usize, usize), bytes: &[u8]) -> Result<Arc<dyn Bound>, CodecError> {
        // SAFETY: by the invariant above, and inside the code of this image (`place`).
        #[allow(unsafe_code)]
        let decode = unsafe { std::mem::transmute::<usize, Decode>(address) };
        decode(pointer, bytes)
    }
}

impl std::fmt::Debug for BoundCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BoundCall")
    }
}
