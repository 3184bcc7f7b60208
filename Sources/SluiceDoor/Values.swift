import ArgumentParser
import SluiceCore

/// A length of time as people write it: `500ms`, `5s`, `2m`, `1h`; a bare number is seconds.
package struct TimeSpan: Hashable, Sendable {
    package var duration: Duration

    package init(_ duration: Duration) { self.duration = duration }

    /// A length that a broker or a person names: no less than none, and no more than is ever told.
    package init(seconds: Double) { duration = Duration(boundedSeconds: seconds) }

    /// The length in milliseconds.
    package var milliseconds: UInt64 { duration.boundedNanoseconds / 1_000_000 }

    /// The length in seconds.
    package var seconds: Double { duration / .seconds(1) }

    /// The length in whole seconds, rounded up: a little is not nothing.
    package var wholeSeconds: UInt64 {
        (duration.boundedNanoseconds + 999_999_999) / 1_000_000_000
    }
}

extension TimeSpan: ExpressibleByArgument {
    package init?(argument: String) {
        let digits = argument.prefix { $0.isNumber || $0 == "." }
        guard let number = Double(digits) else { return nil }
        let unit: Double
        switch argument.dropFirst(digits.count) {
        case "us": unit = 1e-6
        case "ms": unit = 1e-3
        case "", "s": unit = 1
        case "m", "min": unit = 60
        case "h": unit = 3_600
        case "d": unit = 86_400
        default: return nil
        }
        guard number * unit <= Double(Limits.timeSecondsMax) else { return nil }
        self.init(seconds: number * unit)
    }

    package var defaultValueDescription: String { text }

    /// The shortest way to write it with one or two digits of interest.
    package var text: String {
        let seconds = seconds
        switch seconds {
        case 0: return "0s"
        case ..<0.001: return Self.short(seconds * 1e6) + "us"
        case ..<1: return Self.short(seconds * 1e3) + "ms"
        case ..<120: return Self.short(seconds) + "s"
        case ..<7_200: return Self.short(seconds / 60) + "m"
        case ..<172_800: return Self.short(seconds / 3_600) + "h"
        default: return Self.short(seconds / 86_400) + "d"
        }
    }

    private static func short(_ value: Double) -> String {
        let decimals = value < 10 && value != value.rounded() ? 1 : 0
        return value.text(decimals: decimals)
    }
}

/// A number of events as people write it: `1000`, `10k`, `2M`, `1_000_000`.
package struct EventCount: Hashable, Sendable, ExpressibleByArgument {
    package var value: Int

    package init(_ value: Int) { self.value = value }

    package init?(argument: String) {
        let plain = argument.filter { $0 != "_" }
        let digits = plain.prefix { $0.isNumber || $0 == "." }
        let unit: Double
        switch plain.dropFirst(digits.count) {
        case "": unit = 1
        case "k", "K": unit = 1e3
        case "M": unit = 1e6
        case "G": unit = 1e9
        default: return nil
        }
        guard let number = Double(digits), number * unit < 1e15 else { return nil }
        let value = number * unit
        guard value == value.rounded() else { return nil }
        self.init(Int(value))
    }

    package var defaultValueDescription: String { String(value) }
}

/// A number of bytes as people write it: `4096`, `64k`, `64KiB`, `64MiB`, `1G`; units are of 1,024.
package struct ByteCount: Hashable, Sendable, ExpressibleByArgument {
    package var value: Int

    package init(_ value: Int) { self.value = value }

    package init?(argument: String) {
        let plain = argument.filter { $0 != "_" }
        let digits = plain.prefix { $0.isNumber || $0 == "." }
        let shift: Int
        switch plain.dropFirst(digits.count).lowercased() {
        case "", "b": shift = 0
        case "k", "kb", "kib": shift = 10
        case "m", "mb", "mib": shift = 20
        case "g", "gb", "gib": shift = 30
        case "t", "tb", "tib": shift = 40
        default: return nil
        }
        guard let number = Double(digits), number * Double(1 << shift) < 1e15 else { return nil }
        self.init(Int(number * Double(1 << shift)))
    }

    package var defaultValueDescription: String { text }

    /// The number with the unit that keeps it short, such as `64MiB`.
    package var text: String {
        var scaled = Double(value)
        for unit in ["B", "KiB", "MiB", "GiB"] {
            guard scaled >= 1_024 else {
                let isWhole = scaled == scaled.rounded() || scaled >= 100
                return scaled.text(decimals: isWhole ? 0 : 1) + unit
            }
            scaled /= 1_024
        }
        return scaled.text(decimals: 1) + "TiB"
    }
}

extension Double {
    /// The number with so many decimals, without an exponent.
    package func text(decimals: Int) -> String {
        var scale = 1.0
        for _ in 0..<decimals { scale *= 10 }
        guard isFinite, magnitude * scale < 1e18 else { return "\(self)" }
        let scaled = Int64((magnitude * scale).rounded())
        let sign = self < 0 && scaled > 0 ? "-" : ""
        let whole = scaled / Int64(scale)
        guard decimals > 0 else { return "\(sign)\(whole)" }
        let rest = String(scaled % Int64(scale))
        return "\(sign)\(whole)." + String(repeating: "0", count: decimals - rest.count) + rest
    }
}

extension Int {
    /// The whole part of any number, as far as it goes: 0 for what is none.
    package init(bounded number: Double) {
        guard !number.isNaN else {
            self = 0
            return
        }
        self = Int(exactly: number.rounded(.towardZero)) ?? (number < 0 ? .min : .max)
    }
}

extension BinaryInteger {
    /// The number with commas between groups of three digits.
    package var grouped: String {
        let digits = String(describing: magnitude)
        var text = ""
        for (index, digit) in digits.enumerated() {
            if index > 0, (digits.count - index).isMultiple(of: 3) { text.append(",") }
            text.append(digit)
        }
        return (self < 0 ? "-" : "") + text
    }
}
