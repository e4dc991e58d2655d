//! Where blocks of different sizes go: each as high as it can, then as far left, in the order in which they come.

/// A sheet that is divided into units of equal width, and that grows downwards.
#[derive(Clone, Debug)]
pub struct Sheet {
    width: u32,
    gap: u32,
    /// For each unit, where its next block can begin.
    tops: Vec<u32>,
}

impl Sheet {
    pub fn new(width: u32, gap: u32, units: usize) -> Self {
        Self { width, gap, tops: vec![0; units.max(1)] }
    }

    pub fn units(&self) -> usize {
        self.tops.len()
    }

    /// The width of so many units with the gaps between them.
    pub fn span(&self, units: usize) -> u32 {
        (self.width + self.gap) * units as u32 / self.units() as u32 - self.gap
    }

    /// The upper left corner of a block that is so many units wide, and at most as wide as the sheet.
    pub fn place(&mut self, units: usize, height: u32) -> (u32, u32) {
        let units = units.clamp(1, self.units());
        let top = |unit: usize| self.tops[unit..unit + units].iter().copied().max().unwrap_or(0);
        let unit = (0..=self.units() - units).min_by_key(|unit| (top(*unit), *unit)).unwrap_or(0);
        let y = top(unit);
        self.tops[unit..unit + units].fill(y + height + self.gap);
        (if unit == 0 { 0 } else { self.span(unit) + self.gap }, y)
    }

    /// The height of all that was placed.
    pub fn height(&self) -> u32 {
        self.tops.iter().copied().max().unwrap_or(0).saturating_sub(self.gap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_do_not_overlap() {
        let mut sheet = Sheet::new(400, 10, 4);
        let sizes = [(1, 50), (2, 80), (1, 20), (4, 30), (1, 60), (1, 10), (9, 5), (0, 1)];
        let mut placed: Vec<[u32; 4]> = Vec::new();
        for (units, height) in sizes {
            let (x, y) = sheet.place(units, height);
            let (right, bottom) = (x + sheet.span(units.clamp(1, 4)), y + height);
            assert!(right <= 400 && bottom <= sheet.height());
            for [left, top, other_right, other_bottom] in &placed {
                assert!(
                    right <= *left || other_right <= &x || bottom <= *top || other_bottom <= &y,
                    "{units} {height}"
                );
            }
            placed.push([x, y, right, bottom]);
        }
        assert_eq!(placed[1], [102, 0, 297, 80]);
    }
}
