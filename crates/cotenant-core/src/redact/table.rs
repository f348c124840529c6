//! The table of what secrets look like.

/// What the part behind a prefix is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// Letters and digits.
    Alnum,
    /// Letters, digits, `_`, `-`.
    Url,
    /// Letters, digits, `_`, `-`, `.`, `=`, `~`, `%`.
    Dotted,
    /// Letters, digits, `+`, `/`, `=`.
    Base64,
    /// All of these.
    Any,
    /// Digits and `a` to `f`.
    Hex,
    /// Hexadecimal digits and `-`.
    Uuid,
    /// Capitals and digits.
    Upper,
    /// Letters, digits, `_`, `-` and `/`, as in the path of a hook.
    Path,
}

impl Of {
    /// Whether a byte belongs to it.
    pub(super) const fn takes(self, byte: u8) -> bool {
        match self {
            Self::Alnum => byte.is_ascii_alphanumeric(),
            Self::Url => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            Self::Dotted => {
                byte.is_ascii_alphanumeric()
                    || matches!(byte, b'_' | b'-' | b'.' | b'=' | b'~' | b'%' | b'$')
            }
            Self::Base64 => byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='),
            Self::Any => Self::Dotted.takes(byte) || Self::Base64.takes(byte),
            Self::Hex => byte.is_ascii_hexdigit(),
            Self::Uuid => byte.is_ascii_hexdigit() || byte == b'-',
            Self::Upper => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Self::Path => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'/'),
        }
    }
}

/// A kind of secret that begins in a way of its own: rule, prefix, alphabet and least length of what follows.
pub(super) type Prefixed = (&'static str, &'static str, Of, usize);

/// The one table. A prefix that is also a beginning of ordinary words is in [`COMMON`].
#[rustfmt::skip]
pub(super) const PREFIXED: &[Prefixed] = &[
    // Clouds.
    ("aws", "AKIA", Of::Upper, 16), ("aws", "ASIA", Of::Upper, 16), ("aws", "ABIA", Of::Upper, 16),
    ("aws", "ACCA", Of::Upper, 16), ("aws", "AGPA", Of::Upper, 16), ("aws", "AIDA", Of::Upper, 16),
    ("aws", "AROA", Of::Upper, 16), ("aws", "AIPA", Of::Upper, 16), ("aws", "ANPA", Of::Upper, 16),
    ("google", "AIza", Of::Url, 35), ("google", "GOCSPX-", Of::Url, 20), ("google", "ya29.", Of::Dotted, 20),
    ("google", "1//0", Of::Url, 20), ("alibaba", "LTAI", Of::Alnum, 16), ("tencent", "AKID", Of::Alnum, 32),
    ("yandex", "AQVN", Of::Url, 35), ("yandex", "y0_", Of::Url, 30), ("yandex", "t1.9eu", Of::Dotted, 40),
    ("digitalocean", "dop_v1_", Of::Hex, 64), ("digitalocean", "doo_v1_", Of::Hex, 64),
    ("digitalocean", "dor_v1_", Of::Hex, 64), ("heroku", "HRKU-", Of::Url, 36), ("fly", "fo1_", Of::Url, 40),
    ("fly", "fm2_", Of::Base64, 40), ("fly", "fm1r_", Of::Base64, 40), ("netlify", "nfp_", Of::Alnum, 36),
    ("render", "rnd_", Of::Alnum, 28), ("supabase", "sbp_", Of::Hex, 40), ("supabase", "sb_secret_", Of::Url, 20),
    ("planetscale", "pscale_tkn_", Of::Dotted, 32), ("planetscale", "pscale_oauth_", Of::Dotted, 32),
    ("planetscale", "pscale_pw_", Of::Dotted, 32), ("neon", "napi_", Of::Alnum, 48), ("databricks", "dapi", Of::Hex, 32),
    ("cloudflare", "v1.0-", Of::Url, 100), ("scaleway", "SCW", Of::Upper, 17), ("openshift", "sha256~", Of::Url, 40),
    ("tailscale", "tskey-auth-", Of::Url, 20), ("tailscale", "tskey-api-", Of::Url, 20),
    ("tailscale", "tskey-client-", Of::Url, 20), ("ngrok", "ngrok_", Of::Alnum, 30),
    // Code and packages.
    ("github", "ghp_", Of::Alnum, 36), ("github", "gho_", Of::Alnum, 36), ("github", "ghu_", Of::Alnum, 36),
    ("github", "ghs_", Of::Alnum, 36), ("github", "ghr_", Of::Alnum, 36), ("github", "github_pat_", Of::Url, 50),
    ("gitlab", "glpat-", Of::Dotted, 20), ("gitlab", "gldt-", Of::Url, 20), ("gitlab", "glft-", Of::Url, 20),
    ("gitlab", "glsoat-", Of::Url, 20), ("gitlab", "glrt-", Of::Dotted, 20), ("gitlab", "glcbt-", Of::Url, 20),
    ("gitlab", "glptt-", Of::Url, 40), ("gitlab", "glagent-", Of::Url, 50), ("gitlab", "gloas-", Of::Url, 64),
    ("gitlab", "glimt-", Of::Url, 25), ("gitlab", "glffct-", Of::Url, 20), ("gitlab", "GR1348941", Of::Url, 20),
    ("npm", "npm_", Of::Alnum, 36), ("pypi", "pypi-AgE", Of::Url, 50), ("rubygems", "rubygems_", Of::Hex, 48),
    ("crates", "cio", Of::Alnum, 32), ("nuget", "oy2", Of::Alnum, 43), ("docker", "dckr_pat_", Of::Url, 27),
    ("docker", "dckr_oat_", Of::Url, 27), ("clojars", "CLOJARS_", Of::Alnum, 60), ("artifactory", "AKCp", Of::Alnum, 60),
    ("sourcegraph", "sgp_", Of::Url, 40), ("bitbucket", "ATBB", Of::Alnum, 32), ("atlassian", "ATATT3", Of::Dotted, 60),
    ("atlassian", "ATCTT3", Of::Dotted, 60), ("pulumi", "pul-", Of::Hex, 40), ("infracost", "ico-", Of::Alnum, 32),
    ("prefect", "pnu_", Of::Alnum, 36), ("buildkite", "bkua_", Of::Hex, 40), ("circleci", "CCIPAT_", Of::Url, 40),
    ("sonar", "sqp_", Of::Hex, 40), ("sonar", "squ_", Of::Hex, 40), ("sonar", "sqa_", Of::Hex, 40),
    // Secret stores and keys.
    ("vault", "hvs.", Of::Url, 24), ("vault", "hvb.", Of::Url, 24), ("vault", "hvr.", Of::Url, 24),
    ("doppler", "dp.pt.", Of::Alnum, 40), ("doppler", "dp.st.", Of::Dotted, 40), ("doppler", "dp.ct.", Of::Alnum, 40),
    ("doppler", "dp.sa.", Of::Alnum, 40), ("doppler", "dp.scim.", Of::Alnum, 40), ("doppler", "dp.audit.", Of::Alnum, 40),
    ("age", "AGE-SECRET-KEY-1", Of::Upper, 58), ("onepassword", "ops_eyJ", Of::Base64, 100),
    ("infisical", "st.", Of::Dotted, 60), ("akeyless", "p-", Of::Base64, 44),
    // Models.
    ("anthropic", "sk-ant-", Of::Url, 40), ("openai", "sk-proj-", Of::Url, 40), ("openai", "sk-svcacct-", Of::Url, 40),
    ("openai", "sk-admin-", Of::Url, 40), ("openrouter", "sk-or-v1-", Of::Hex, 60), ("openai", "sk-", Of::Alnum, 40),
    ("huggingface", "hf_", Of::Alnum, 34), ("huggingface", "api_org_", Of::Alnum, 34), ("replicate", "r8_", Of::Alnum, 37),
    ("groq", "gsk_", Of::Alnum, 48), ("perplexity", "pplx-", Of::Alnum, 40), ("xai", "xai-", Of::Alnum, 70),
    ("langsmith", "lsv2_pt_", Of::Url, 40), ("langsmith", "lsv2_sk_", Of::Url, 40), ("nvidia", "nvapi-", Of::Url, 60),
    ("tavily", "tvly-", Of::Url, 30), ("firecrawl", "fc-", Of::Hex, 32), ("fireworks", "fw_", Of::Alnum, 22),
    ("elevenlabs", "sk_", Of::Hex, 48), ("cerebras", "csk-", Of::Alnum, 45), ("voyage", "pa-", Of::Url, 42),
    // Messages and mail.
    ("slack", "xoxb-", Of::Url, 24), ("slack", "xoxp-", Of::Url, 24), ("slack", "xoxa-", Of::Url, 24),
    ("slack", "xoxr-", Of::Url, 24), ("slack", "xoxs-", Of::Url, 24), ("slack", "xoxe.", Of::Dotted, 24),
    ("slack", "xoxe-", Of::Url, 24), ("slack", "xapp-", Of::Url, 24),
    ("slack", "hooks.slack.com/services/", Of::Path, 24), ("slack", "hooks.slack.com/workflows/", Of::Path, 24),
    ("discord", "discord.com/api/webhooks/", Of::Path, 40), ("sendgrid", "SG.", Of::Dotted, 60),
    ("mailgun", "key-", Of::Hex, 32), ("brevo", "xkeysib-", Of::Url, 64), ("brevo", "xsmtpsib-", Of::Url, 64),
    ("resend", "re_", Of::Url, 24), ("twilio", "SK", Of::Hex, 32), ("facebook", "EAAC", Of::Alnum, 60),
    ("facebook", "EAAB", Of::Alnum, 60), ("twitter", "AAAAAAAAAAAAAAAAAAAAA", Of::Dotted, 50),
    // Money.
    ("stripe", "sk_live_", Of::Alnum, 20), ("stripe", "sk_test_", Of::Alnum, 20), ("stripe", "rk_live_", Of::Alnum, 20),
    ("stripe", "rk_test_", Of::Alnum, 20), ("stripe", "whsec_", Of::Base64, 24), ("shopify", "shpat_", Of::Hex, 32),
    ("shopify", "shpca_", Of::Hex, 32), ("shopify", "shppa_", Of::Hex, 32), ("shopify", "shpss_", Of::Hex, 32),
    ("square", "sq0atp-", Of::Url, 22), ("square", "sq0csp-", Of::Url, 40), ("square", "EAAAE", Of::Url, 55),
    ("paypal", "access_token$production$", Of::Dotted, 32), ("paypal", "access_token$sandbox$", Of::Dotted, 32),
    ("plaid", "access-production-", Of::Uuid, 36), ("plaid", "access-sandbox-", Of::Uuid, 36),
    ("flutterwave", "FLWSECK-", Of::Url, 30), ("flutterwave", "FLWSECK_TEST-", Of::Url, 12),
    ("razorpay", "rzp_live_", Of::Alnum, 14), ("razorpay", "rzp_test_", Of::Alnum, 14), ("easypost", "EZAK", Of::Alnum, 54),
    ("easypost", "EZTK", Of::Alnum, 54), ("duffel", "duffel_live_", Of::Url, 40), ("duffel", "duffel_test_", Of::Url, 40),
    ("shippo", "shippo_live_", Of::Hex, 40), ("shippo", "shippo_test_", Of::Hex, 40), ("lob", "live_", Of::Hex, 35),
    // Work.
    ("linear", "lin_api_", Of::Alnum, 40), ("linear", "lin_oauth_", Of::Hex, 64), ("notion", "secret_", Of::Alnum, 43),
    ("notion", "ntn_", Of::Alnum, 40), ("figma", "figd_", Of::Url, 40), ("typeform", "tfp_", Of::Dotted, 40),
    ("contentful", "CFPAT-", Of::Url, 43), ("postman", "PMAK-", Of::Url, 50), ("readme", "rdme_", Of::Alnum, 60),
    ("frameio", "fio-u-", Of::Url, 60), ("airtable", "pat", Of::Dotted, 70), ("monday", "mdy_", Of::Alnum, 30),
    // Watching.
    ("newrelic", "NRAK-", Of::Upper, 27), ("newrelic", "NRJS-", Of::Alnum, 19), ("newrelic", "NRII-", Of::Url, 32),
    ("grafana", "glc_", Of::Base64, 32), ("grafana", "glsa_", Of::Url, 32), ("sentry", "sntrys_", Of::Any, 50),
    ("sentry", "sntryu_", Of::Hex, 64), ("honeycomb", "hcaik_", Of::Alnum, 50), ("dynatrace", "dt0c01.", Of::Dotted, 60),
    ("launchdarkly", "sdk-", Of::Uuid, 36), ("launchdarkly", "api-", Of::Uuid, 36), ("axiom", "xaat-", Of::Uuid, 36),
    ("axiom", "xapt-", Of::Uuid, 36), ("zuplo", "zpka_", Of::Url, 40), ("segment", "sgp_", Of::Alnum, 64),
    ("posthog", "phx_", Of::Alnum, 40), ("rollbar", "rbp_", Of::Alnum, 30),
];

/// Rules whose prefix begins ordinary words too: what follows must hold both letters and digits.
pub(super) const COMMON: &[&str] = &[
    "openai",
    "mailgun",
    "resend",
    "notion",
    "infisical",
    "airtable",
    "lob",
    "crates",
    "nuget",
    "akeyless",
    "voyage",
    "scaleway",
    "launchdarkly",
    "fireworks",
    "monday",
    "ngrok",
    "rollbar",
    "segment",
    "twilio",
    "elevenlabs",
];

/// Words that make what is assigned to a name a secret, and how long that must be.
pub(super) const NAMED: &[(&str, usize)] = &[
    ("password", 6),
    ("passwd", 6),
    ("passphrase", 6),
    ("pwd", 6),
    ("secret", 12),
    ("token", 16),
    ("apikey", 12),
    ("accesskey", 12),
    ("accountkey", 12),
    ("privatekey", 12),
    ("secretkey", 12),
    ("signingkey", 12),
    ("encryptionkey", 12),
    ("credential", 12),
    ("credentials", 12),
    ("accesskeyid", 16),
    ("auth", 16),
];
