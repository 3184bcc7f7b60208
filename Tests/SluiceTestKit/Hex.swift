/// Bytes as hexadecimal text, for vectors and messages.
package enum Hex {
    /// Two lower-case digits a byte, without spaces.
    package static func text(_ bytes: some Sequence<UInt8>) -> String {
        bytes.map { byte in
            let digits = String(byte, radix: 16)
            return digits.count == 1 ? "0" + digits : digits
        }
        .joined()
    }

    /// Reads `0a ff 00*3` with comments from `#` to the end of a line; nil if it is not that.
    package static func bytes(_ text: some StringProtocol) -> [UInt8]? {
        var bytes: [UInt8] = []
        for line in text.split(whereSeparator: \.isNewline) {
            for word in line.prefix(while: { $0 != "#" }).split(separator: " ") {
                let parts = word.split(separator: "*", omittingEmptySubsequences: false)
                guard parts[0].count == 2, let byte = UInt8(parts[0], radix: 16) else { return nil }
                if parts.count == 1 {
                    bytes.append(byte)
                } else {
                    guard parts.count == 2, let count = Int(parts[1]), count > 0 else { return nil }
                    bytes.append(contentsOf: repeatElement(byte, count: count))
                }
            }
        }
        return bytes
    }
}
