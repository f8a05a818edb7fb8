//! Devices that run the models and the searches.

use anyhow::{Result, bail};
use rankle_core::{Embedder, Place};
use std::{fmt, str::FromStr};

/// A device on the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Device {
    /// The CPU, with this project's kernels.
    #[default]
    Cpu,
    /// The CPU, with the networks and searches on tensors that run on a GPU.
    CandleCpu,
    /// An NVIDIA GPU, by its index from 0.
    Cuda(usize),
    /// An Apple GPU.
    Metal,
}

impl Device {
    /// The compute backend on this device.
    ///
    /// # Errors
    /// One line that says what to do, if this build or this machine lacks the device.
    pub(crate) fn place(self) -> Result<Place> {
        type Opened = candle_core::Result<candle_core::Device>;
        let (name, feature, built, see, open): (_, _, _, _, &dyn Fn() -> Opened) = match self {
            Self::Cpu => return Ok(Place::Kernels),
            Self::CandleCpu => return Ok(Place::Tensors(candle_core::Device::Cpu)),
            // A stream of its own: two threads do not wait for each other.
            Self::Cuda(number) => {
                ("CUDA", "cuda", cfg!(feature = "cuda"), "see `nvidia-smi` for the cards of this machine, or ", &move || {
                    candle_core::Device::new_cuda_with_stream(number)
                })
            }
            Self::Metal => ("Metal", "metal", cfg!(feature = "metal"), "", &|| candle_core::Device::new_metal(0)),
        };
        if !built {
            bail!("this build has no {name}, so there is no {self}: build it with --features {feature}, or use --device cpu");
        }
        open().map(Place::Tensors).or_else(|error| {
            let error = error.to_string();
            bail!("{self} cannot be used ({}): {see}use --device cpu", error.lines().next().unwrap_or_default())
        })
    }

    /// Checks that a model was built for this device, as one of another program need not be.
    ///
    /// # Errors
    /// One line that names the model.
    pub(crate) fn check(self, name: impl fmt::Display, model: &dyn Embedder) -> Result<()> {
        if self != Self::Cpu && matches!(model.place(), Place::Kernels) {
            bail!("the model {name} runs on the CPU only, not on {self}: use --device cpu");
        }
        Ok(())
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::CandleCpu => f.write_str("candle-cpu"),
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
            "candle-cpu" => Some(Self::CandleCpu),
            "metal" => Some(Self::Metal),
            "cuda" => Some(Self::Cuda(0)),
            other => other.strip_prefix("cuda:").and_then(number).map(Self::Cuda),
        }
        .ok_or_else(|| crate::names::unknown("device", name, &["cpu", "candle-cpu", "cuda", "cuda:N", "metal"]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rankle_models::Architecture;

    #[test]
    fn names_go_both_ways() {
        for (text, device) in
            [("cpu", Device::Cpu), ("candle-cpu", Device::CandleCpu), ("cuda:3", Device::Cuda(3)), ("metal", Device::Metal)]
        {
            assert_eq!(text.parse(), Ok(device));
            assert_eq!(device.to_string(), text);
        }
        assert_eq!("cuda".parse(), Ok(Device::Cuda(0)));
        for wrong in ["gpu", "cuda:", "cuda:-1", ""] {
            assert!(wrong.parse::<Device>().is_err(), "{wrong}");
        }
        let says = |name: &str| name.parse::<Device>().unwrap_err();
        assert_eq!(says("cudda"), "unknown device 'cudda', did you mean 'cuda'? known: cpu, candle-cpu, cuda, cuda:N, metal");
        assert!(matches!(Device::Cpu.place(), Ok(Place::Kernels)) && matches!(Device::CandleCpu.place(), Ok(Place::Tensors(_))));
        if cfg!(not(feature = "cuda")) {
            let message = Device::Cuda(0).place().unwrap_err().to_string();
            assert!(message.contains("build it with --features cuda") && message.lines().count() == 1, "{message}");
        }
    }

    #[test]
    fn a_model_of_the_kernels_is_for_one_device() {
        let model =
            |place| Architecture::Softmax.initialize(rankle_core::Distance::Euclidean, rankle_core::Seed(0), &place).unwrap();
        let (kernels, tensors) = (model(Place::Kernels), model(Place::Tensors(candle_core::Device::Cpu)));
        let check =
            |device: Device, model: &dyn Embedder| device.check(Architecture::Softmax, model).map_err(|error| error.to_string());
        assert_eq!(check(Device::Cpu, &*kernels), Ok(()));
        assert_eq!(check(Device::CandleCpu, &*tensors), Ok(()));
        let message = "the model softmax runs on the CPU only, not on candle-cpu: use --device cpu";
        assert_eq!(check(Device::CandleCpu, &*kernels), Err(message.to_owned()));
    }
}
