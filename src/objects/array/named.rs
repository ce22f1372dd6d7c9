//! Making and opening arrays with names.

use super::array::Array;
use super::memory::ArrayMemory;
use crate::SegmentError;
use crate::segment::Named;
use bytemuck::Pod;

impl<T: Pod> Named<Array<T>> {
    /// Creates the array with these items. See [`Named`] for the errors.
    ///
    /// ```
    /// let made = crossproc::Array::named("doc-array-create").create(&[1u8, 2])?;
    /// assert_eq!(made.len(), 2);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn create(self, items: &[T]) -> Result<Array<T>, SegmentError> {
        self.create_items(items)
    }

    /// Creates the array with `len` zeros. See [`Named`] for the errors.
    ///
    /// ```
    /// let made = crossproc::Array::<f64>::named("doc-array-zeroed").create_zeroed(3)?;
    /// assert_eq!(made.to_vec()?, [0.0; 3]);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn create_zeroed(self, len: usize) -> Result<Array<T>, SegmentError> {
        self.create_object(len, |_| ()) // zeros are free locks
    }

    /// Opens the array, whatever its length, or creates it with these items if it does not exist.
    ///
    /// ```
    /// let made = crossproc::Array::named("doc-array-either").open_or_create(&[1u8, 2])?;
    /// let same = crossproc::Array::<u8>::named("doc-array-either").open_or_create(&[])?;
    /// assert_eq!(made.len(), same.len());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn open_or_create(self, items: &[T]) -> Result<Array<T>, SegmentError> {
        self.open_or_create_object(|named| named.create_items(items))
    }

    fn create_items(&self, items: &[T]) -> Result<Array<T>, SegmentError> {
        self.create_object(items.len(), |object| {
            // SAFETY: the object is new, has the layout of this many items, and stays mapped during this call.
            unsafe { ArrayMemory::<T>::new(object, items.len()) }.fill_new(items);
        })
    }
}
