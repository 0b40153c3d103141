//! Medians and spreads.

/// The middle of some numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Median.
    pub median: f64,
    /// Lower and upper quartile.
    pub quartiles: (f64, f64),
    /// How many numbers.
    pub count: usize,
}

/// Of some numbers; `None` of none.
pub fn spread(numbers: impl IntoIterator<Item = f64>) -> Option<Spread> {
    let mut sorted: Vec<f64> = numbers.into_iter().filter(|number| number.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    (!sorted.is_empty()).then(|| Spread {
        median: quantile(&sorted, 0.5),
        quartiles: (quantile(&sorted, 0.25), quantile(&sorted, 0.75)),
        count: sorted.len(),
    })
}

/// Between neighbours, linearly.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = (sorted.len() - 1) as f64 * q;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    low + (high - low) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_between_neighbours() {
        let found = spread([4.0, 1.0, 3.0, 2.0, f64::NAN]).unwrap();
        assert_eq!((found.median, found.quartiles, found.count), (2.5, (1.75, 3.25), 4));
        assert_eq!(spread([7.0]).unwrap().quartiles, (7.0, 7.0));
        assert_eq!(spread([]), None);
    }
}
