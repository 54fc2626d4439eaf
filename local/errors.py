"""The error tree of AWS on this machine.

Every error that the code of `local` raises is one of these; what AWS itself would refuse is an `AwsError`.

```
LocalError
├── AwsError                    an error response to a client of the cloud, in AWS's words
│   └── SignatureError          a request with a missing or invalid signature
├── LocalCloudError             the cloud cannot be started, reached or changed as requested
├── CredentialsError            the state folder's access key cannot be read or written
├── ProviderError               a failure reported to the user of the Pulumi engine
│   ├── ApiError                an error response of the AWS API
│   ├── UnknownTypeError        a resource type or function that the provider does not have
│   └── UnfinishedError         a resource that was created but not completed
└── the errors of single services, each defined where it is raised
```
"""

from __future__ import annotations


class LocalError(Exception):
    """The root of all errors that the cloud on this machine raises on purpose.

    Args:
        subject: The subject of the message; the whole message if AWS words it, empty for a signal between threads.
        found: What is wrong with the subject.
        expected: What would be right.
        fix: The next step.
    """

    def __init__(self, subject: str = "", found: str = "", *, expected: str = "", fix: str = "") -> None:
        text = f"{subject} {found}" if found else subject
        if expected:
            text += f"; expected {expected}"
        if fix:
            text += fix if text.endswith("\n") else f"{': ' if expected else '; '}{fix}"
        super().__init__(text)
        self.subject, self.found, self.expected, self.fix = subject, found, expected, fix
