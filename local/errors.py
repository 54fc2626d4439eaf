"""The error tree of AWS on this machine.

Every error of `local` that its own code raises is one of these; what AWS itself would refuse is an `AwsError`.

```
LocalError
├── AwsError                    a refusal that a client of the cloud sees, in AWS's words
│   └── SignatureError          a request that is not signed as it must be
├── LocalCloudError             the cloud cannot be started, reached or changed as asked
├── CredentialsError            the state folder's access key cannot be read or written
├── ProviderError               a failure that the user of the Pulumi engine sees
│   ├── ApiError                a refusal of the API
│   ├── UnknownTypeError        a resource type or function that the provider does not have
│   └── UnfinishedError         a resource that is not what it should become
└── the errors of single services, each defined where it is raised
```
"""

from __future__ import annotations


class LocalError(Exception):
    """The root of all errors that the cloud on this machine raises on purpose.

    Args:
        subject: What is wrong; all of the message where AWS's own words say it, nothing for a signal between threads.
        found: What is wrong with it.
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
