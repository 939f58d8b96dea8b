//! The chunker polynomial that a config must carry.
//!
//! Stock restic cuts by it when it writes to the same vault, and refuses a config whose polynomial is reducible; we cut
//! by it in vaults that are shared with restic. A random irreducible one of degree 53 over GF(2) is made, as restic
//! makes it.

/// The degree that restic wants.
pub(crate) const DEGREE: u32 = 53;

/// A random irreducible polynomial of degree 53; bit n is the coefficient of x^n.
pub(crate) fn random() -> u64 {
    // About one of 53 polynomials is irreducible, one of 27 of those with a constant term.
    loop {
        let candidate = (rand::random::<u64>() & ((1 << DEGREE) - 1)) | (1 << DEGREE) | 1;
        if is_irreducible(candidate) {
            return candidate;
        }
    }
}

/// Ben-Or's test: no common divisor with x^(2^i) - x for i up to half the degree.
pub(crate) fn is_irreducible(polynomial: u64) -> bool {
    if polynomial < 2 {
        return false;
    }
    let degree = degree_of(polynomial);
    let mut power = 2; // x
    for _ in 0..degree / 2 {
        power = multiply_modulo(power, power, polynomial);
        if greatest_common_divisor(polynomial, power ^ 2) != 1 {
            return false;
        }
    }
    true
}

fn degree_of(polynomial: u64) -> u32 {
    63 - polynomial.leading_zeros()
}

/// What is left of `dividend` after division by `divisor`, which is not 0.
pub(crate) fn remainder(mut dividend: u64, divisor: u64) -> u64 {
    while dividend != 0 && degree_of(dividend) >= degree_of(divisor) {
        dividend ^= divisor << (degree_of(dividend) - degree_of(divisor));
    }
    dividend
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, remainder(a, b));
    }
    a
}

fn multiply_modulo(mut a: u64, mut b: u64, modulus: u64) -> u64 {
    let top = 1 << degree_of(modulus);
    let mut product = 0;
    while b != 0 {
        if b & 1 != 0 {
            product ^= a;
        }
        b >>= 1;
        a <<= 1;
        if a & top != 0 {
            a ^= modulus;
        }
    }
    product
}

#[cfg(test)]
mod tests {
    use super::{DEGREE, degree_of, is_irreducible, random};

    #[test]
    fn known_polynomials() {
        let check = |polynomial: u64, expected: bool| {
            assert_eq!(is_irreducible(polynomial), expected, "{polynomial:#x}");
        };
        // Those of restic's own tests and documents.
        check(0x3d_a335_8b4d_c173, true);
        check(0x30_a578_8be9_ff09, true);
        check(0x38_f108_9e8e_f7ab, false);
        check(0b111, true); // x^2 + x + 1
        check(0b101, false); // (x + 1)^2
        check(0b1011, true);
        check(0b1111, false); // (x + 1)(x^2 + 1)
        check(0b1_0011, true);
        check(0b1_0101, false); // (x^2 + x + 1)^2
        check(0, false);
        check(1, false);
    }

    #[test]
    fn small_ones_by_trial_division() {
        for polynomial in 2_u64..512 {
            let reducible = (2..polynomial)
                .filter(|&divisor| degree_of(divisor) < degree_of(polynomial))
                .any(|divisor| super::remainder(polynomial, divisor) == 0);
            assert_eq!(is_irreducible(polynomial), !reducible, "{polynomial:#b}");
        }
    }

    #[test]
    fn random_ones_have_the_degree() {
        let one = random();
        assert_eq!(degree_of(one), DEGREE);
        assert!(is_irreducible(one));
    }
}
