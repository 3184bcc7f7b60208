import SluiceCore
import SluiceTestKit
import SluiceWire

/// Numbers that arithmetic trips over: limits, powers of two, and their neighbours.
enum ExtremeNumber {
    static let all: [UInt64] = {
        let limits: [UInt64] = [
            Limits.demandMax, Limits.demandBytesMax, Limits.bufferEventsMax, Limits.bufferBytesMax,
            Limits.grantWindowEvents, Limits.grantWindowBytes, UInt64(Limits.eventBytesMax),
            UInt64(Limits.frameBytesMax), UInt64(Limits.frameBytesMin),
            UInt64(Limits.partitionsMax), UInt64(Limits.cutRangesMax),
            UInt64(Limits.runsPerFrameMax), UInt64(Limits.markerBytesMax),
        ]
        let powers: [UInt64] = [1 << 7, 1 << 8, 1 << 15, 1 << 16, 1 << 31, 1 << 32, 1 << 63]
        let around = (limits + powers).flatMap { [$0 - 1, $0, $0 + 1] }
        return [0, 1, 2, .max - 1, .max] + around
    }()

    /// An extreme number, or one next to what stood there.
    static func draw(near number: UInt64, using random: inout SeededGenerator) -> UInt64 {
        switch Int.random(in: 0..<4, using: &random) {
        case 0: number &+ 1
        case 1: number &- 1
        default: all.randomElement(using: &random) ?? 0
        }
    }

    /// What JSON may have in place of a number.
    static func json(using random: inout SeededGenerator) -> String {
        let odd = ["-1", "1e308", "-1e308", "1.5", "1e3", "NaN", "null", "\"7\"", "1e999"]
        return Int.random(in: 0..<4, using: &random) == 0
            ? odd.randomElement(using: &random) ?? "0"
            : "\(all.randomElement(using: &random) ?? 0)"
    }
}

/// Where the numbers of frames are, so that one of them can be changed.
enum FrameNumber {
    struct Place {
        var offset: Int
        var width: Int
    }

    /// Changes one number of the frame at `start`.
    static func change(
        _ bytes: inout [UInt8],
        at start: Int,
        using random: inout SeededGenerator
    ) {
        guard let header = FrameHeader.decode(from: bytes.span.bytes, at: start) else { return }
        let body = start + FrameHeader.byteCount
        let end = body + header.length
        var places = places(of: header, in: bytes[body..<end]).map {
            Place(offset: body + $0.offset, width: $0.width)
        }
        places.append(Place(offset: start + 5, width: 4))
        places.removeAll { $0.offset + $0.width > end }
        guard let place = places.randomElement(using: &random) else { return }
        let range = place.offset..<place.offset + place.width
        let number = bytes[range].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        let changed = ExtremeNumber.draw(near: number, using: &random)
        for (index, position) in range.enumerated() {
            let shift = 8 * (place.width - 1 - index)
            bytes[position] = UInt8(truncatingIfNeeded: changed >> UInt64(shift))
        }
    }

    private static func row(_ widths: [Int], from start: Int = 0) -> [Place] {
        var places: [Place] = []
        var offset = start
        for width in widths {
            places.append(Place(offset: offset, width: width))
            offset += width
        }
        return places
    }

    private static func places(of header: FrameHeader, in body: ArraySlice<UInt8>) -> [Place] {
        switch FrameType(rawValue: header.type) {
        case .hello?: row([1, 1, 2, 4, 4], from: 4)
        case .welcome?: row([1, 2, 4, 4, 4, 4, 4, 4, 4])
        case .ping?: row([8])
        case .open?: options(in: body)
        case .opened?: row([8, 8, 8, 8, 8, 8, 8, 8, 8])
        case .demand?: row([4, 8, 4, 8, 8, 8])
        // One run, a gap or a mark.
        case .events?:
            header.flags == 0 ? row([8, 4, 4, 8, 8, 4]) : row([8, 8, 8, 8, 1])
        case .settle?: row([8, 4, 1, 4])
        case .status?: row([8, 8, 8, 8, 8, 8, 8, 8, 8, 4, 4, 1, 4, 8])
        case .close?: row([2, 4, 2])
        case nil: []
        }
    }

    /// The numbers in the options of an OPEN, by their tags.
    private static func options(in body: ArraySlice<UInt8>) -> [Place] {
        let bytes = Array(body)
        guard bytes.count > 2 else { return [] }
        var places = row([1, 1])
        var next = 2 + Int(bytes[1])
        while next + 3 <= bytes.count {
            let count = Int(bytes[next + 1]) << 8 | Int(bytes[next + 2])
            places += row([1, 2], from: next)
            places += row(widths(of: bytes[next] & 0x7F), from: next + 3)
            next += 3 + count
        }
        return places
    }

    private static func widths(of tag: UInt8) -> [Int] {
        switch tag {
        case 2, 9, 17: [1]
        case 3: [1, 8]
        case 4, 15, 16: [4, 4]
        case 6: [8]
        case 7: [8, 8, 8, 8, 8, 8, 8]
        case 8, 11, 12: [2]
        case 10: [1, 4]
        case 14, 18: [4]
        default: []
        }
    }
}
