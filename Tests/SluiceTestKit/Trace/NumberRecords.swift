import SluiceCore

/// The numbers of a scenario as records: with what its selectors and its hash look at.
struct NumberRecords {
    /// Bounds of the scenario's selectors: below which of them a number is.
    private let bounds: [Int]
    let hasSelectors: Bool
    private let beginning: Scenario.Beginning
    /// A key of each partition; empty without partitions.
    private let keys: [String]

    init(_ scenario: Scenario, _ beginning: Scenario.Beginning) {
        self.beginning = beginning
        let selectors = scenario.steps.compactMap { step in
            switch step.action {
            case .subscribe(_, let member), .resubscribe(_, _, let member): member.selector
            default: nil
            }
        }
        hasSelectors = !selectors.isEmpty
        let bounds = selectors.compactMap { selector in
            switch selector {
            case .below(let bound), .atLeast(let bound): bound
            case .even, .odd, .none: nil
            }
        }
        self.bounds = Set(bounds).sorted()
        keys = Self.keys(of: beginning.partitions)
    }

    /// Keys that the real hash leads to one partition after the other.
    private static func keys(of partitions: UInt16) -> [String] {
        var keys = [String?](repeating: nil, count: Int(partitions))
        var missing = keys.count
        var number = 0
        while missing > 0 {
            let key = String(number)
            let place = Int(KeyHash.partition(ofKey: Array(key.utf8).span.bytes, among: partitions))
            if keys[place] == nil {
                keys[place] = key
                missing -= 1
            }
            number += 1
        }
        return keys.compactMap(\.self)
    }

    /// What the scenario's hash says of a number; nil if that is nobody's.
    func partition(of number: Int) -> Int? {
        if let nobodys = beginning.nobodys, number.isMultiple(of: nobodys) { return nil }
        let rest = number % beginning.modulus
        return rest < 0 ? rest + beginning.modulus : rest
    }

    /// Whether the hash leads to a partition that there is.
    func isRouted(_ number: Int) -> Bool {
        partition(of: number).map { keys.indices.contains($0) } ?? false
    }

    /// The numbers as one run: taken apart by what is asked alone, never for being many runs.
    func run(of numbers: [Int]) -> Run {
        let bytes = numbers.flatMap(record)
        let slab = Slab(capacity: bytes.count)
        let place = slab.append(bytes.span.bytes)
        return Run(slab: slab, bytes: place, count: UInt32(numbers.count))
    }

    private func record(of number: Int) -> [UInt8] {
        let key = isRouted(number) ? partition(of: number).map { keys[$0] } : nil
        var headers: [(name: String, value: String)] = []
        if hasSelectors {
            headers.append((Self.parity, number.isMultiple(of: 2) ? "even" : "odd"))
            for bound in bounds where number < bound { headers.append((Self.name(of: bound), "")) }
        }
        return recordBytes(key: key, headers: headers, payload: String(number))
    }

    /// The numbers that a run's records carry.
    static func numbers(in run: Run) -> [Int] {
        var numbers: [Int] = []
        run.slab.withUnsafeBytes(run.bytes) { bytes in
            var start = 0
            while start + Record.headBytes <= bytes.count {
                let head = bytes.loadUnaligned(fromByteOffset: start, as: UInt32.self).bigEndian
                let end = start + Record.headBytes + Int(head & 0xFF_FFFF)
                var next = start + Record.headBytes
                // The key and the block of headers, each with its length before it.
                for flag in 0..<2 where head >> (24 + flag) & 1 == 1 {
                    next += 2 + (Int(bytes[next]) << 8 | Int(bytes[next + 1]))
                }
                let text = String(decoding: bytes[next..<end], as: UTF8.self)
                numbers.append(Int(text) ?? .min)
                start = end
            }
        }
        return numbers
    }

    // MARK: Selectors

    private static let parity = "parity"
    private static func name(of bound: Int) -> String { "below \(bound)" }

    static func filter(_ selector: Scenario.Selector) -> Filter? {
        let condition: Condition =
            switch selector {
            case .even: .equals(.header(Name(parity)), Array("even".utf8))
            case .odd: .equals(.header(Name(parity)), Array("odd".utf8))
            case .none: .exists(.header("nobody's"))
            case .below(let bound): .exists(.header(Name(name(of: bound))))
            case .atLeast(let bound): .not(.exists(.header(Name(name(of: bound)))))
            }
        return try? Filter(condition)
    }
}
