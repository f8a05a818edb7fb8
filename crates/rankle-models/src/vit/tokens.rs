//! Tokens of an image: its patches, the class token and registers, with position embeddings.

use super::names::REGISTERS;
use super::{Vit, VitKind};
use crate::expression::{Parameter, Pass};
use candle_core::{Result, Tensor};
use rankle_ops::{Conv2d, Filter, Resize, resize};

impl Vit {
    /// Parameters of the tokens, in the order of the forward pass.
    pub(super) fn token_parameters(&self) -> Vec<Parameter> {
        let (names, width) = (self.kind.names(), self.width);
        let padded = |sizes: &[usize], dimensions: usize| {
            let ones = if names.padded { dimensions - sizes.len() } else { 0 };
            [&vec![1; ones], sizes].concat()
        };
        let weight = Parameter::layer(names.patches, [width, 3, self.patch, self.patch]);
        let mut parameters: Vec<Parameter> = weight.into_iter().take(if self.kind.has_patch_bias() { 2 } else { 1 }).collect();
        parameters.extend(names.class_token.map(|name| Parameter::trained(name, padded(&[width], 3))));
        let positions = self.class_tokens() + self.trained_grid().pow(2);
        parameters.push(Parameter::trained(names.positions, padded(&[positions, width], 3)));
        if let VitKind::Dinov2 { registers: registers @ 1.. } = self.kind {
            parameters.push(Parameter::trained(REGISTERS, [1, registers, width]));
        }
        parameters
    }

    /// Embeds normalized images `(n, 3, side, side)` as `(n, tokens, width)`: class token, registers, patches row by row.
    pub(super) fn tokens(&self, pass: &Pass<'_>, images: &Tensor) -> Result<Tensor> {
        let names = self.kind.names();
        let (n, width) = (images.dim(0)?, self.width);
        let patches = Conv2d { stride: [self.patch; 2], ..Conv2d::default() };
        let patches = pass.conv2d(names.patches, images, &patches)?.flatten_from(2)?.transpose(1, 2)?;
        let positions = pass.weight(names.positions)?.reshape(((), width))?;
        let patches = patches.broadcast_add(&self.patch_positions(&positions)?)?;
        let mut tokens = Vec::new();
        if let Some(name) = names.class_token {
            tokens.push((pass.weight(name)?.reshape((1, width))? + positions.narrow(0, 0, 1)?)?);
        }
        if let VitKind::Dinov2 { registers: registers @ 1.. } = self.kind {
            tokens.push(pass.weight(REGISTERS)?.reshape((registers, width))?);
        }
        let tokens = tokens.iter().map(|token| token.broadcast_left(n)).chain([Ok(patches)]).collect::<Result<Vec<_>>>()?;
        Tensor::cat(&tokens, 1)
    }

    /// Position embeddings of the patches, `(patches, width)`, interpolated if the weights are for images of another size.
    fn patch_positions(&self, positions: &Tensor) -> Result<Tensor> {
        let (trained, grid) = (self.trained_grid(), self.grid());
        let positions = positions.narrow(0, self.class_tokens(), trained * trained)?;
        if trained == grid {
            return Ok(positions);
        }
        let maps = positions.t()?.reshape((1, self.width, trained, trained))?;
        let options = Resize { size: (grid, grid), filter: Filter::Bicubic, antialias: self.kind.antialiases_positions() };
        resize(&maps, &options)?.reshape((self.width, grid * grid))?.t()
    }

    /// Patches along a side of the images.
    fn grid(&self) -> usize {
        self.side / self.patch
    }

    /// Patches along a side of the images whose patches have a position embedding in the weights.
    fn trained_grid(&self) -> usize {
        self.trained_side / self.patch
    }

    fn class_tokens(&self) -> usize {
        usize::from(self.kind.names().class_token.is_some())
    }
}
