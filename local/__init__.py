"""AWS emulated on this machine: a local cloud that runs jobs and endpoints, and a Pulumi provider for it.

This package speaks only the AWS API and Pulumi's plugin protocol. It imports none of the product's other packages.
"""
