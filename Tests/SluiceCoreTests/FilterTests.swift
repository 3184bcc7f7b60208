import SluiceCore
import SluiceTestKit
import Testing

@Suite("A filter")
struct FilterTests {
    private func accepts(_ text: String, _ record: [UInt8]) throws -> Bool {
        try Filter(Condition(text)).accepts(record.span.bytes)
    }

    @Test(
        "accepts what its condition says",
        arguments: [
            ("key exists", true), ("header.none exists", false), ("header.kind exists", true),
            (#"key = "eu-7""#, true), (#"key = "eu-""#, false), (#"key = "eu-77""#, false),
            (#"key ^= "eu-""#, true), (#"key ^= """#, true), (#"key ^= "us-""#, false),
            (#"key ^= "eu-77""#, false), (#"key in ("a", "eu-7")"#, true),
            (#"key in ("a", "b")"#, false), (#"header.kind = "x""#, true),
            (#"header.kind = "second""#, true), (#"header.kind = "y""#, false),
            (#"header.kin = "x""#, false), (#"header.empty = """#, true),
            (#"header.long = "0123456789abcdef!""#, true),
            (#"header.long = "0123456789abcdef?""#, false),
            (#"header.long = "0123456x89abcdef!""#, false),
            (#"not header.kind = "x""#, false), (#"not header.none = "x""#, true),
            (#"key = "eu-7" and header.kind = "x""#, true),
            (#"key = "eu-7" and header.kind = "y""#, false),
            (#"key = "us" or header.kind = "x""#, true), (#"key = "us" or key = "uk""#, false),
            (#"key ^= "eu" and not (header.kind in ("p", "q") or header.none exists)"#, true),
        ]
    )
    func conditions(text: String, isAccepted: Bool) throws {
        let record = recordBytes(
            key: "eu-7",
            headers: [
                ("kind", "x"), ("kind", "second"), ("empty", ""), ("long", "0123456789abcdef!"),
            ]
        )
        #expect(try accepts(text, record) == isAccepted)
    }

    @Test("finds nothing in a plain event, whose payload is none of its business")
    func plain() throws {
        let record = recordBytes(payload: "\u{0}\u{1}a")
        #expect(try !accepts("key exists", record))
        #expect(try !accepts("header.a exists", record))
        #expect(try accepts("not key exists", record))
        #expect(try accepts(#"key = """#, recordBytes(key: "")))
    }

    @Test("reads and writes the bytes of the vectors, or refuses them", arguments: Vector.filters)
    func vectors(vector: Vector) throws {
        switch vector.outcome {
        case .frame(let text):
            let filter = try Filter(encoded: vector.bytes)
            #expect(filter.condition.description == text)
            #expect(try Filter(Condition(text)) == filter)
        case .error:
            #expect(throws: FilterError.self) { try Filter(encoded: vector.bytes) }
        }
    }

    @Test("has vectors of both kinds")
    func vectorsAreThere() { #expect(Vector.filters.count > 25) }

    @Test("says which limit is passed")
    func limits() throws {
        let long = Condition.equals(.key, Array(repeating: 7, count: Limits.filterBytesMax))
        #expect(throws: FilterError.tooLarge(Limits.filterBytesMax + 4)) { try Filter(long) }
        #expect(throws: FilterError.tooLarge(5_000)) {
            try Filter(encoded: Array(repeating: 0, count: 5_000))
        }
        var deep = Condition.exists(.key)
        for _ in 1..<Limits.filterDepthMax { deep = .not(deep) }
        _ = try Filter(deep)
        #expect(throws: FilterError.tooDeep) { try Filter(.not(deep)) }
        let values = Array(repeating: [UInt8(7)], count: Limits.filterPartsMax - 1)
        _ = try Filter(.isOneOf(.key, values))
        #expect(throws: FilterError.tooManyParts) { try Filter(.isOneOf(.key, values + [[8]])) }
        #expect(throws: FilterError.self) { try Filter(.exists(.header(""))) }
        let name = String(repeating: "n", count: 256)
        #expect(throws: FilterError.self) { try Filter(.exists(.header(Name(name)))) }
    }

    @Test("agrees with its condition on random events, and survives a broken byte")
    func random() throws {
        var generator = SeededGenerator.replayable("A filter")
        for _ in 0..<2_000 {
            let condition = RandomCondition.make(depth: 4, using: &generator)
            let filter = try Filter(condition)
            #expect(filter.condition == condition)
            #expect(try Condition(condition.description) == condition)
            let event = RandomCondition.Event(using: &generator)
            #expect(
                filter.accepts(event.record.span.bytes) == event.fits(condition),
                "\(condition)"
            )
            var bytes = filter.encoded
            let place = Int.random(in: 0..<bytes.count, using: &generator)
            bytes[place] = UInt8.random(in: 0...255, using: &generator)
            guard let other = try? Filter(encoded: bytes) else { continue }
            _ = other.accepts(event.record.span.bytes)
            #expect(try Filter(other.condition) == other)
        }
    }

    @Test("takes no payload for a header, whatever length the block of headers claims")
    func blockThatEndsInAHeader() throws {
        var record = recordBytes(headers: [("a", "v")])
        #expect(try accepts("header.a exists", record))
        record[Record.headBytes + 1] -= 1
        #expect(try !accepts("header.a exists", record))
    }

    @Test("finds the same among many headers as among few")
    func manyHeaders() throws {
        var generator = SeededGenerator.replayable("A filter among many headers")
        for _ in 0..<300 {
            let filter = try Filter(RandomCondition.make(depth: 4, using: &generator))
            let event = RandomCondition.Event(using: &generator)
            let count = Int.random(in: 50...500, using: &generator)
            let crowded = event.record(among: count, using: &generator)
            #expect(
                filter.accepts(crowded.span.bytes) == filter.accepts(event.record.span.bytes),
                "\(filter.condition)"
            )
        }
    }

    @Test("looks at the first 16 values of a name", arguments: [0, 200])
    func manyValues(others: Int) throws {
        var headers: [(name: String, value: String)] = []
        for number in 0..<others { headers.append(("other-\(number)", "")) }
        for number in 0..<20 { headers.append(("n", "\(number)")) }
        let record = recordBytes(headers: headers)
        for number in 0..<20 {
            let isSeen = number < Limits.headerValuesMax
            #expect(try accepts("header.n = \"\(number)\"", record) == isSeen)
        }
    }

    @Test("finds in a record that is broken what stands before the break, and nothing after it")
    func brokenRecords() throws {
        var generator = SeededGenerator.replayable("A filter on broken records")
        var brokenCount = 0
        for _ in 0..<4_000 {
            let condition = RandomCondition.make(depth: 2, using: &generator)
            var record = RandomCondition.Event(using: &generator).record
            record.removeLast(Int.random(in: 0...record.count, using: &generator))
            if let place = record.indices.randomElement(using: &generator) {
                record[place] = UInt8.random(in: 0...255, using: &generator)
            }
            let (event, isBroken) = RandomCondition.Event.read(record)
            brokenCount += isBroken ? 1 : 0
            #expect(
                try Filter(condition).accepts(record.span.bytes) == event.fits(condition),
                "\(condition) on \(record)"
            )
        }
        #expect(brokenCount > 1_000)
    }
}

/// Conditions and events over few names and values, so that they often meet.
private enum RandomCondition {
    static let someNames = ["a", "b", "x y"]
    static let someValues = ["", "v", "vw", "ü\"\\", "\u{7}0123456789"]

    static func make(depth: Int, using generator: inout SeededGenerator) -> Condition {
        let field = field(using: &generator)
        switch Int.random(in: 0..<(depth > 1 ? 7 : 4), using: &generator) {
        case 0: return .exists(field)
        case 1: return .equals(field, value(using: &generator))
        case 2: return .hasPrefix(field, value(using: &generator))
        case 3:
            let count = Int.random(in: 1...3, using: &generator)
            return .isOneOf(field, (0..<count).map { _ in value(using: &generator) })
        case 4: return .not(make(depth: depth - 1, using: &generator))
        case let kind:
            let count = Int.random(in: 2...3, using: &generator)
            let children = (0..<count).map { _ in make(depth: depth - 1, using: &generator) }
            return kind == 5 ? .all(children) : .any(children)
        }
    }

    private static func field(using generator: inout SeededGenerator) -> Condition.Field {
        guard Bool.random(using: &generator) else { return .key }
        return .header(Name(someNames.randomElement(using: &generator) ?? "a"))
    }

    private static func value(using generator: inout SeededGenerator) -> [UInt8] {
        Array((someValues.randomElement(using: &generator) ?? "").utf8)
    }

    struct Event {
        private var key: [UInt8]?
        private var headers: [(name: [UInt8], value: [UInt8])] = []

        /// Reads a record as far as it goes; whether it breaks off.
        static func read(_ record: [UInt8]) -> (event: Event, isBroken: Bool) {
            var event = Event()
            var rest = record[...]
            func part(_ lengthBytes: Int, of rest: inout ArraySlice<UInt8>) -> [UInt8]? {
                let length = rest.prefix(lengthBytes).reduce(0) { $0 << 8 | Int($1) }
                guard rest.count >= lengthBytes + length else { return nil }
                rest.removeFirst(lengthBytes)
                defer { rest.removeFirst(length) }
                return Array(rest.prefix(length))
            }
            guard rest.count >= Record.headBytes else { return (event, true) }
            let flags = record[0]
            rest.removeFirst(Record.headBytes)
            if flags & Record.keyFlag != 0 {
                event.key = part(2, of: &rest)
                guard event.key != nil else { return (event, true) }
            }
            guard flags & Record.headersFlag != 0 else { return (event, false) }
            guard let block = part(2, of: &rest) else { return (event, true) }
            var headers = block[...]
            while !headers.isEmpty {
                guard let name = part(1, of: &headers), let value = part(2, of: &headers) else {
                    return (event, true)
                }
                event.headers.append((name, value))
            }
            return (event, false)
        }

        private init() {}

        init(using generator: inout SeededGenerator) {
            if Bool.random(using: &generator) {
                key = RandomCondition.value(using: &generator)
            }
            for _ in 0..<Int.random(in: 0...3, using: &generator) {
                let name = RandomCondition.someNames.randomElement(using: &generator) ?? "a"
                headers.append((Array(name.utf8), RandomCondition.value(using: &generator)))
            }
        }

        var record: [UInt8] {
            recordBytes(
                key: key.map(text),
                headers: headers.map { (text($0.name), text($0.value)) }
            )
        }

        private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

        /// The same with so many headers beside that no condition is about.
        func record(among count: Int, using generator: inout SeededGenerator) -> [UInt8] {
            var crowd = (0..<count).map { (name: "other-\($0)", value: "v") }
            var place = 0
            for header in headers {
                place = Int.random(in: place...crowd.count, using: &generator)
                crowd.insert((text(header.name), text(header.value)), at: place)
                place += 1
            }
            return recordBytes(key: key.map(text), headers: crowd)
        }

        func fits(_ condition: Condition) -> Bool {
            switch condition {
            case .exists(let field): !values(of: field).isEmpty
            case .equals(let field, let value): values(of: field).contains(value)
            case .hasPrefix(let field, let value):
                values(of: field).contains { $0.starts(with: value) }
            case .isOneOf(let field, let options):
                values(of: field).contains { options.contains($0) }
            case .not(let child): !fits(child)
            case .all(let children): children.allSatisfy(fits)
            case .any(let children): children.contains(where: fits)
            }
        }

        private func values(of field: Condition.Field) -> [[UInt8]] {
            guard case .header(let name) = field else { return key.map { [$0] } ?? [] }
            return headers.filter { $0.name == Array(name.text.utf8) }.map(\.value)
        }
    }
}
