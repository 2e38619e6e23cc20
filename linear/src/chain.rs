//! A list from which places are taken out, and put back in the opposite order, in constant time (Knuth's dancing links).

/// Numbers from 1 in ascending order, some of them taken out.
#[derive(Debug)]
pub(crate) struct Chain {
    next: Vec<usize>,
    previous: Vec<usize>,
}

impl Chain {
    /// Stands before the first number and behind the last.
    pub(crate) const END: usize = 0;

    /// The chain of these numbers, which ascend and are below `bound`.
    pub(crate) fn new(numbers: impl Iterator<Item = usize>, bound: usize) -> Self {
        let mut chain = Self { next: vec![Self::END; bound], previous: vec![Self::END; bound] };
        let mut last = Self::END;
        for number in numbers {
            (chain.next[last], chain.previous[number]) = (number, last);
            last = number;
        }
        chain.previous[Self::END] = last;
        chain
    }

    pub(crate) fn next(&self, number: usize) -> usize {
        self.next[number]
    }

    pub(crate) fn previous(&self, number: usize) -> usize {
        self.previous[number]
    }

    pub(crate) fn take_out(&mut self, number: usize) {
        let (previous, next) = (self.previous[number], self.next[number]);
        (self.next[previous], self.previous[next]) = (next, previous);
    }

    /// Puts back what was taken out last of all that is out.
    pub(crate) fn put_back(&mut self, number: usize) {
        let (previous, next) = (self.previous[number], self.next[number]);
        (self.next[previous], self.previous[next]) = (number, number);
    }
}

#[cfg(test)]
mod tests {
    use super::Chain;

    fn numbers(chain: &Chain) -> Vec<usize> {
        let mut numbers = Vec::new();
        let mut number = chain.next(Chain::END);
        while number != Chain::END {
            assert_eq!(chain.previous(chain.next(number)), number);
            numbers.push(number);
            number = chain.next(number);
        }
        numbers
    }

    #[test]
    fn what_is_put_back_in_the_opposite_order_is_where_it_was() {
        let mut chain = Chain::new([1, 2, 4, 5].into_iter(), 6);
        for (out, left) in [(2, vec![1, 4, 5]), (4, vec![1, 5]), (1, vec![5]), (5, vec![])] {
            chain.take_out(out);
            assert_eq!(numbers(&chain), left);
        }
        for (back, there) in [(5, vec![5]), (1, vec![1, 5]), (4, vec![1, 4, 5]), (2, vec![1, 2, 4, 5])] {
            chain.put_back(back);
            assert_eq!(numbers(&chain), there);
        }
    }
}
