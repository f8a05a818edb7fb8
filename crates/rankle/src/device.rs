//! Devices that run the models.

use anyhow::{Result, bail};
use std::{fmt, str::FromStr};

/// A device on the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Device {
    /// The CPU.
    #[default]
    Cpu,
    /// An NVIDIA GPU, by its index from 0.
    Cuda(usize),
    /// An Apple GPU.
    Metal,
}

impl Device {
    /// Checks that this build can use the device. In this version all models have kernels for the CPU only.
    ///
    /// # Errors
    /// One line that says what to do.
    pub(crate) fn check(self) -> Result<()> {
        let (name, built) = match self {
            Self::Cpu => return Ok(()),
            Self::Cuda(_) => ("CUDA", cfg!(feature = "cuda")),
            Self::Metal => ("Metal", cfg!(feature = "metal")),
        };
        match built {
            true => bail!("the models of this version run on the processor only, not on {self}: use --device cpu"),
            false => bail!("this build has no {name}, so there is no {self}: use --device cpu"),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::Metal => f.write_str("metal"),
        }
    }
}

impl FromStr for Device {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse().ok();
        match name {
            "cpu" => Some(Self::Cpu),
            "metal" => Some(Self::Metal),
            "cuda" => Some(Self::Cuda(0)),
            other => other.strip_prefix("cuda:").and_then(number).map(Self::Cuda),
        }
        .ok_or_else(|| crate::names::unknown("device", name, &["cpu", "cuda", "cuda:N", "metal"]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        for (text, device) in [("cpu", Device::Cpu), ("cuda:3", Device::Cuda(3)), ("metal", Device::Metal)] {
            assert_eq!(text.parse(), Ok(device));
            assert_eq!(device.to_string(), text);
        }
        assert_eq!("cuda".parse(), Ok(Device::Cuda(0)));
        for wrong in ["gpu", "cuda:", "cuda:-1", ""] {
            assert!(wrong.parse::<Device>().is_err(), "{wrong}");
        }
        let says = |name: &str| name.parse::<Device>().unwrap_err();
        assert_eq!(says("cudda"), "unknown device 'cudda', did you mean 'cuda'? known: cpu, cuda, cuda:N, metal");
        assert!(Device::Cpu.check().is_ok() && Device::Cuda(0).check().is_err());
    }
}
