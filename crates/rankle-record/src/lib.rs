//! What came of an attack, as plain data: what a sample says about its mean. It knows no tensor, no model and no file.
//!
//! ```
//! use rankle_record::Estimate;
//!
//! let estimate = Estimate::of(&[1.0, 2.0, 3.0]).unwrap();
//! assert_eq!((estimate.mean, estimate.count), (2.0, 3));
//! ```

mod estimate;

pub use estimate::Estimate;
