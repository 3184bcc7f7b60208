extension Range<Int> {
    /// The first index of which `isBehind` is true, as it then is of all after it; the range's end
    /// if there is none.
    func firstIndex(fromWhich isBehind: (Int) -> Bool) -> Int {
        var (low, high) = (lowerBound, upperBound)
        while low < high {
            let middle = low + (high - low) / 2
            if isBehind(middle) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
