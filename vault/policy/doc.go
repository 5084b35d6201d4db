// Package policy reads the policies of the team server and decides by them: may
// this request be served, and which rule of which policy says so. Policies are
// written as HashiCorp Vault writes them, in HCL or JSON, and mean what they
// mean there (spec server-api §2), so that a team brings its own and can take
// them along.
//
//	path "prod/data/billing/*" {
//	  capabilities = ["read"]
//	}
//
// Exactly one rule decides a request: the one whose pattern fits the path most
// closely. Rules with the same pattern are one rule, whichever policies they
// stand in. Rights of different patterns never add up, so a rule can take away
// what a broader one gives; what no rule gives is refused.
//
// Four steps, each a pure function: [Parse] reads a text, [Compile] makes an
// [ACL] of all policies of one identity, [ACL.Decide] answers a request, and
// [Check] tells the author what a policy does that they may not have meant.
// [ParseTests] reads the allow and deny lines that are kept beside a policy.
//
// It refuses to do anything else: it opens no file and knows no server, token,
// clock or log. It never says back the value of a parameter.
//
// # Where it differs from Vault
//
// Where Vault 1.21 and OpenBao 2.6 differ it does as one of the two, and in some
// places it is stricter than both. In one it gives what both refuse: a number
// among the allowed values of a parameter allows that number, where in Vault it
// is like none and no request gets through.
//   - LIST is matched with its final slash first (OpenBao), so that no rule for
//     a shorter path gets round one for the folder.
//   - What an identity fills into a template is never a wildcard: a + or a * in
//     it is an ordinary character. If it holds a slash the whole ACL refuses,
//     unless the policy allows it: leaving the rule out could widen what the
//     others give. An empty value counts as none.
//   - Nothing is read over: an unknown key, a key given twice, a template that
//     no identity can fill, text after the end of a JSON policy, a value of
//     another type than the key has. Vault drops some of these and reads the
//     rest. Keys that narrow what a rule gives but that this server does not
//     enforce (mfa_methods and the like) are refused, not ignored.
//   - The value "*" for a parameter, which in Vault is only an asterisk, is
//     refused: an empty list says "any value" in both.
//   - Parameters are compared as the server could read them. A list of values,
//     which OpenBao compares only whole, is allowed if
//     all its elements are and denied if one of them is; so is a text with
//     commas, of which the whole must be allowed too. A number or a boolean that
//     comes as text is denied like one that does not.
//   - sudo is asked for on auth/token/create-orphan, sys/rotate/… and
//     sys/step-down too.
package policy
