import SluiceCore

/// The rule for names, in the one place that judges them.
package enum NameRule {
    /// One of a user's topics: those that begin with `$` are the broker's.
    case topic
    case group
    case link

    /// What every name keeps to, for those who have to change one.
    package static let text = "no spaces and no control or invisible characters"

    /// Whether `text` is a name: not empty, no spaces, and nothing that cannot be seen.
    ///
    /// Two names that look alike to people should be alike. So the Unicode categories Cc, Cf, Zs,
    /// Zl and Zp are refused: with control characters and spaces those of width zero, byte order
    /// marks, and what turns the direction of a text.
    package static func isLegal(_ text: String) -> Bool {
        !text.isEmpty && text.unicodeScalars.allSatisfy(isLegal)
    }

    private static func isLegal(_ scalar: Unicode.Scalar) -> Bool {
        if scalar.isASCII { return scalar.value > 0x20 && scalar.value != 0x7F }
        return switch scalar.properties.generalCategory {
        case .control, .format, .spaceSeparator, .lineSeparator, .paragraphSeparator: false
        default: true
        }
    }

    private var bytesMax: Int {
        switch self {
        case .topic: Limits.topicNameBytesMax
        case .group: Limits.groupNameBytesMax
        case .link: Limits.clientNameBytesMax
        }
    }

    /// The rule that a text breaks as a name of this kind; nil if it is one.
    package func fault(in text: String) -> String? {
        let mayBegin = self != .topic || !text.utf8.starts(with: "$".utf8)
        if Self.isLegal(text), text.utf8.count <= bytesMax, mayBegin { return nil }
        let size = "name has 1 to \(bytesMax) bytes, \(Self.text)"
        return switch self {
        case .topic: "a topic's \(size), and no $ at its start"
        case .group: "a group's \(size)"
        case .link: "a link's \(size)"
        }
    }
}
