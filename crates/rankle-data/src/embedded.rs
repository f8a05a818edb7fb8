//! MNIST compiled into the binary.

use crate::Name;

/// The gzipped file called `file` (without `.gz`); `None` if it is not compiled in.
#[cfg(feature = "embedded-mnist")]
pub(crate) fn file(name: Name, file: &str) -> Option<&'static [u8]> {
    macro_rules! mnist {
        ($file:literal) => {
            Some(include_bytes!(concat!("../../../datasets/mnist/", $file, ".gz")).as_slice())
        };
    }
    match (name, file) {
        (Name::Mnist, "train-images-idx3-ubyte") => mnist!("train-images-idx3-ubyte"),
        (Name::Mnist, "train-labels-idx1-ubyte") => mnist!("train-labels-idx1-ubyte"),
        (Name::Mnist, "t10k-images-idx3-ubyte") => mnist!("t10k-images-idx3-ubyte"),
        (Name::Mnist, "t10k-labels-idx1-ubyte") => mnist!("t10k-labels-idx1-ubyte"),
        _ => None,
    }
}

#[cfg(not(feature = "embedded-mnist"))]
pub(crate) fn file(_: Name, _: &str) -> Option<&'static [u8]> {
    None
}
