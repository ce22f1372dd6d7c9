//! Arrays that other programs find.

use super::{Array, fill_new, plan};
use crate::SegmentError;
use crate::segment::{LINE, Named};
use bytemuck::Pod;

impl<T: Pod> Named<Array<T>> {
    /// Makes the array with these items; see [`Named`] for the errors.
    ///
    /// ```
    /// let made = crossproc::Array::named("doc-array-create").create(&[1u8, 2])?;
    /// assert_eq!(made.len(), 2);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn create(self, items: &[T]) -> Result<Array<T>, SegmentError> {
        self.create_items(items)
    }

    /// Makes the array of zeros; see [`Named`] for the errors.
    ///
    /// ```
    /// let made = crossproc::Array::<f64>::named("doc-array-zeroed").create_zeroed(3)?;
    /// assert_eq!(made.to_vec()?, [0.0; 3]);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn create_zeroed(self, len: usize) -> Result<Array<T>, SegmentError> {
        self.create_object(len, |_| ()) // zeros are locks that nobody holds
    }

    /// Opens the array, whatever its length, or makes it with these items where there is none.
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
            let (_, items_at, _) = plan::<T>(items.len()).unwrap_or((0, LINE, LINE));
            // SAFETY: the object has the bytes of the plan.
            fill_new(unsafe { object.add(items_at) }, items);
        })
    }
}
