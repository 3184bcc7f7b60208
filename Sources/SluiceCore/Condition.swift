/// What must hold of an event's key and headers, as a tree; `Filter` is what evaluates it.
package indirect enum Condition: Hashable, Sendable {
    case exists(Field)
    case equals(Field, [UInt8])
    case hasPrefix(Field, [UInt8])
    case isOneOf(Field, [[UInt8]])
    case not(Condition)
    /// All of at least two.
    case all([Condition])
    /// One of at least two.
    case any([Condition])

    /// What a test looks at.
    package enum Field: Hashable, Sendable {
        case key
        /// Any header of that name: it may occur twice.
        case header(Name)
    }
}

/// Why bytes or a condition are no filter.
package enum FilterError: Error, Hashable, Sendable {
    case tooLarge(Int)
    case tooDeep
    case tooManyParts
    /// A node or a value leaves what it lies in, or leaves bytes over.
    case broken(at: Int)
    case unknownOperation(UInt8, at: Int)
    /// A header's name that is empty, longer than 255 bytes or not UTF-8.
    case badName(at: Int)
    /// An `and` or `or` of fewer than two, an `in` of nothing, a `not` of other than one.
    case wrongCount(at: Int)
}

extension FilterError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .tooLarge(let count):
            "the filter has \(count) bytes, the limit is \(Limits.filterBytesMax); "
                + "name fewer or shorter values"
        case .tooDeep: "the filter nests deeper than \(Limits.filterDepthMax); flatten it"
        case .tooManyParts:
            "the filter has more than \(Limits.filterPartsMax) conditions and values; name fewer"
        case .broken(let place):
            "the filter's bytes do not fit together at \(place); count the lengths again"
        case .unknownOperation(let operation, let place):
            "operation \(operation) at \(place) of the filter is unknown; use 1 to 7"
        case .badName(let place):
            "the header name at \(place) of the filter is not 1 to 255 bytes of UTF-8; mend it"
        case .wrongCount(let place):
            "the condition at \(place) of the filter has too few or too many parts; "
                + "and, or: at least 2, in: at least 1, not: 1"
        }
    }
}
