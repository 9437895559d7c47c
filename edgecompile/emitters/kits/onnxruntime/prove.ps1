# Prove the artifact on this Windows machine: an environment of its own, then prove.py.
#
#   powershell -ExecutionPolicy Bypass -File prove.ps1
#
# Needs Python 3.10 or newer on PATH and a package index. With -Here it uses the Python that is
# active, for runtimes that bring their own (Ryzen AI's conda environment).
param([switch]$Here, [int]$Runs = 20)
$ErrorActionPreference = "Stop"
$folder = Split-Path -Parent $MyInvocation.MyCommand.Path
$kit = Get-Content (Join-Path $folder "kit.json") -Raw | ConvertFrom-Json
$python = "python"
if (-not $Here) {
    $place = Join-Path $env:TEMP ("edgecompile-" + $kit.artifact.sha256.Substring(0, 12))
    if (-not (Test-Path (Join-Path $place "Scripts\python.exe"))) { python -m venv $place }
    $python = Join-Path $place "Scripts\python.exe"
    & $python -m pip install --quiet numpy $kit.options.package.Split(" ")
    if ($LASTEXITCODE -ne 0) { Write-Error "cannot install $($kit.options.package)"; exit 3 }
}
if ($kit.options.min_driver) { Write-Host "needs driver $($kit.options.min_driver) or newer" }
& $python (Join-Path $folder "prove.py") --runs $Runs
exit $LASTEXITCODE
