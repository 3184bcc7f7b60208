/// Whose share of a limit a client uses: its IPv4 address, the /64 network of its IPv6 address, or
/// the way in if that has no address.
///
/// The port is left out: all connections of a machine share one share.
package struct ClientAddress: Hashable, Sendable {
    private enum Family: UInt8 {
        case ipv4
        case ipv6
        case other
    }

    private let family: Family
    private let number: UInt64

    /// Takes the text of a peer's address: `1.2.3.4:5`, `[2001:db8::1]:5`, or any other word.
    package init(_ text: String) {
        var bytes = Array(text.utf8)
        if let colon = bytes.lastIndex(of: UInt8(ascii: ":")), bytes.last != UInt8(ascii: "]") {
            // An IPv6 address with a port stands in brackets; without them it has several colons.
            let isPort = bytes.first == UInt8(ascii: "[") || bytes.firstIndex(of: 0x3A) == colon
            if isPort { bytes.removeSubrange(colon...) }
        }
        if bytes.first == UInt8(ascii: "["), bytes.last == UInt8(ascii: "]") {
            bytes = Array(bytes.dropFirst().dropLast())
        }
        if let number = Self.ipv4(bytes[...]) {
            (family, self.number) = (.ipv4, number)
        } else if let mapped = Self.mapped(bytes), let number = Self.ipv4(mapped) {
            (family, self.number) = (.ipv4, number)
        } else if let network = Self.network(bytes) {
            (family, number) = (.ipv6, network)
        } else {
            (family, number) = (.other, Self.hash(bytes))
        }
    }

    private static func ipv4(_ bytes: ArraySlice<UInt8>) -> UInt64? {
        let parts = bytes.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var number: UInt64 = 0
        for part in parts {
            guard let value = UInt8(String(decoding: part, as: UTF8.self)) else { return nil }
            number = number << 8 | UInt64(value)
        }
        return number
    }

    /// The IPv4 part of an address that maps one into IPv6.
    private static func mapped(_ bytes: [UInt8]) -> ArraySlice<UInt8>? {
        let prefix = Array("::ffff:".utf8)
        return bytes.starts(with: prefix) ? bytes[prefix.count...] : nil
    }

    /// The first four groups of an IPv6 address.
    private static func network(_ bytes: [UInt8]) -> UInt64? {
        let text = bytes.prefix { $0 != UInt8(ascii: "%") }
        guard text.count >= 2, text.contains(UInt8(ascii: ":")) else { return nil }
        var groups = text.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
            .map { String(decoding: $0, as: UTF8.self) }
        // A colon at an end belongs to "::", and leaves an empty group too many.
        if groups.first == "", groups.count > 2, groups[1] == "" { groups.removeFirst() }
        if groups.last == "", groups.count > 2, groups[groups.count - 2] == "" {
            groups.removeLast()
        }
        guard groups.count <= 8 else { return nil }
        if let gap = groups.firstIndex(of: "") {
            let zeros = Array(repeating: "0", count: 9 - groups.count)
            groups.replaceSubrange(gap...gap, with: zeros)
        }
        guard groups.count == 8 else { return nil }
        var number: UInt64 = 0
        for group in groups.prefix(4) {
            guard let value = UInt16(group, radix: 16) else { return nil }
            number = number << 16 | UInt64(value)
        }
        return number
    }

    private static func hash(_ bytes: [UInt8]) -> UInt64 {
        bytes.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    }
}
